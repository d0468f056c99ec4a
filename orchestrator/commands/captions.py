"""The command line of `prepare captions`, which `orchestrator.cli` hands over to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import datasets
from datasets.shards import Prepared
from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.exit_codes import exit_codes
from orchestrator.identity import file_identity
from orchestrator.paths import lasting
from orchestrator.prepare.captions import find_prepared, from_jsonl, write_captions

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(
    epilog="Examples: prepare captions --dataset pacs --from captions.jsonl; "
    "prepare captions --dataset pacs --model coca_ViT-L-14 --pretrained mscoco_finetuned_laion2b_s13b_b90k"
)
def captions(
    dataset: Annotated[str, typer.Option(help="Name of a prepared dataset in data/, or its folder.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help='Captions of your own: lines of {"key": "DOMAIN/KEY", "caption": "TEXT"}.'),
    ] = None,
    model: Annotated[str, typer.Option(help="open_clip CoCa model that writes them.")] = "coca_ViT-L-14",
    pretrained: Annotated[str | None, typer.Option(help="Its weights: an open_clip tag or the path of a file.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="open_clip model config, for an architecture of your own.")
    ] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain's images; may be repeated.")] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for the shards; default: data/captioned/<name>.")
    ] = None,
) -> None:
    """Give the training images of a prepared dataset captions, in new shards; the old ones stay as they are."""
    with exit_codes():
        if (source is None) == (pretrained is None):
            raise BadInputError(["give either --from JSONL or --pretrained TAG_OR_PATH (with --model)"])
        prepared = find_prepared(dataset)
        folder = lasting(str(to) if to else f"data/captioned/{_folder_name(prepared)}", Path.cwd())[0]
        with bad_input(datasets.DatasetError, FileNotFoundError, IsADirectoryError, PermissionError):
            if source is not None:
                origin, captioner = f"{source.name} ({file_identity(source)})", from_jsonl(source)
            else:
                from orchestrator.prepare.captioner import CoCaCaptioner  # takes seconds to import

                made = CoCaCaptioner(model, str(pretrained), config, folder, prepared.identity, say=typer.echo)
                origin, captioner = made.origin, made
            write_captions(prepared, folder, origin, captioner, domain or ())


def _folder_name(prepared: Prepared) -> str:
    """The folder that manifests look for below `data:`: of another revision, `name@revision`."""
    here = prepared.root.rstrip("/").rpartition("/")[2]
    return here if here.partition("@")[0] == prepared.name else prepared.name
