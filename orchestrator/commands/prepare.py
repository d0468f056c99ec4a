"""The command lines of `prepare` and `verify`, which `orchestrator.cli` registers."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from orchestrator.bad_input import BadInputError
from orchestrator.exit_codes import EXIT_FAILED, exit_codes

if TYPE_CHECKING:
    from datasets.parallel import Runner


class OnBadImages(StrEnum):
    """What to do about images that cannot be decoded."""

    FAIL = "fail"
    LIST = "list"


class Prepare(TyperCommand):
    """`prepare DATASET`, and `prepare captions` beside it: click knows either arguments or sub-commands."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of `prepare`, or of `prepare captions`."""
        if args[:1] == ["captions"]:
            from orchestrator.commands.captions import app as captions

            command = typer.main.get_command(captions)
            return command.make_context(f"{info_name} captions", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


PREPARE_EXAMPLES = """Examples:

\b
prepare demo
prepare pacs@pacs-128 --from pacs-128.tar
prepare domainnet --from published --short-side 256
prepare domainnet --from https://mirror.example/domainnet --domains real,sketch
prepare domainnet@original --from /data/domainnet --workers 16
prepare my_dataset.yaml --from /data/photos --bad-images list
prepare imagenet --from /data/imagenet --to s3://bucket/imagenet

Interrupted, the same command continues; done, it verifies. Archives are read where they lie, nothing is unpacked. What every
dataset needs: docs/datasets.md. Captions for training images: prepare captions --help"""

VERIFY_EXAMPLES = """Examples:

\b
verify pacs@pacs-128
verify /data/prepared/domainnet
verify s3://bucket/imagenet --no-decode

Exit code 0 and the attestation if all is as dataset.json says; 1 and a line for each difference if not."""


def prepare(
    dataset: Annotated[str, typer.Argument(help="NAME, NAME@REVISION, or the path of a YAML card.", metavar="DATASET")],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PATH_OR_URL",
            help="Folder or archive with the files as published; the URL of a folder with them; or the word 'published': "
            "download from the authors' own addresses.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="DIR_OR_URI",
            help="Where the shards go; a URI (s3://, gs://, ...) is uploaded to at the end. Default: data/<name>.",
        ),
    ] = None,
    domains: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these domains; default: all but optional ones.")
    ] = None,
    short_side: Annotated[
        int | None, typer.Option(min=16, help="Reduce larger images to this many pixels on the short side.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; 1: none but this one. Default: one for each core.")
    ] = None,
    use_ray: Annotated[
        bool,
        typer.Option(
            "--ray", help="Use Ray's nodes instead ($RAY_ADDRESS); all must see both folders at the same path."
        ),
    ] = False,
    bad_images: Annotated[
        OnBadImages,
        typer.Option(help="Images that cannot be decoded: name them all and stop, or leave them out and list them."),
    ] = OnBadImages.FAIL,
    downloads: Annotated[
        Path | None, typer.Option(help="Folder for downloaded files; default: downloads/<name> beside --to.")
    ] = None,
) -> None:
    """Turn the files of a dataset into shards; prepared before: verify them."""
    with exit_codes():
        import datasets
        from datasets.parallel import keep_freed_memory
        from orchestrator.paths import is_url, lasting
        from orchestrator.prepare.dataset import PUBLISHED, Options
        from orchestrator.prepare.dataset import prepare as prepare_dataset

        keep_freed_memory()
        with lines_for_the_user(), _runner(use_ray) as runner:
            ref = Path(dataset) if datasets.is_card_path(dataset) else dataset
            place = to or f"data/{datasets.folder_name(ref)}"
            remote = source is not None and (source == PUBLISHED or is_url(source))
            prepare_dataset(
                dataset,
                source if remote or source is None else Path(source).expanduser(),
                place if is_url(place) else lasting(place, Path.cwd())[0],
                short_side,
                options=Options(
                    domains=None if domains is None else _names(domains),
                    workers=workers,
                    bad_images="list" if bad_images is OnBadImages.LIST else "fail",
                    downloads=downloads,
                    runner=runner,
                ),
            )


def verify(
    dataset: Annotated[
        str, typer.Argument(help="Name of a dataset in data/, its card, its folder, or its URL.", metavar="DATASET")
    ],
    decode: Annotated[
        bool, typer.Option("--decode/--no-decode", help="Decode every image, or check sizes, hashes and counts alone.")
    ] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one for each core.")] = None,
) -> None:
    """Re-read a prepared dataset against its dataset.json and print what it is."""
    with exit_codes():
        from rich.console import Console

        import datasets
        from orchestrator.prepare.verify import find
        from orchestrator.prepare.verify import verify as verify_dataset

        with lines_for_the_user():
            try:
                console = Console(stderr=True, soft_wrap=True)
                typer.echo(verify_dataset(find(dataset, check_shards=False), workers, decode=decode, console=console))
            except datasets.DatasetError as error:
                typer.echo(str(error), err=True)
                raise typer.Exit(EXIT_FAILED) from None


@contextlib.contextmanager
def lines_for_the_user() -> Iterator[None]:
    """What datasets raise about wrong input, a problem a line."""
    import datasets

    try:
        yield
    except (datasets.DatasetError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise BadInputError(str(error).splitlines()) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise BadInputError([f"{where}{error.strerror}; then run the same command again, it continues"]) from None


@contextlib.contextmanager
def _runner(use_ray: bool) -> Iterator[Runner | None]:
    """Work over Ray while it is connected, or None."""
    if not use_ray:
        yield None
        return
    from orchestrator.prepare.on_ray import over_ray
    from orchestrator.sweeps.cluster import session

    with session(dashboard=False):
        yield over_ray


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise BadInputError([f"--domains {text!r}: expected names with commas between them, like real,sketch"])
    return names
