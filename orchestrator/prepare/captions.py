"""Gives the training images of a prepared dataset captions: new shards with `<key>.txt`, a new `dataset.json`, a new identity.

The captions come from a JSONL file or from an open_clip CoCa model, which is read out greedily: the same weights give the
same captions. Images, labels and the test split stay as they are; the dataset keeps its name, so a manifest takes the
captioned one with `data:`, the folder that it lies in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from datasets.base import Dataset, DatasetInfo, Entry, Published
from datasets.shards import FILE_NAME, Prepared, write_prepared
from datasets.stream import Sample, samples
from datasets.tar_index import index_shard
from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.prepare.verify import find

MAX_NAMED = 1000
"""Keys of one kind that are named one by one."""
Captioner = Callable[[Sequence[Sample]], Mapping[str, str]]
"""Training images to key -> caption, a caption for each."""


def find_prepared(name_or_folder: str) -> Prepared:
    """The prepared dataset in a folder, or in data/<name>. Raises BadInputError."""
    with bad_input(FileNotFoundError, ValueError):
        return find(name_or_folder)


def write_captions(
    prepared: Prepared,
    to: Path,
    origin: str,
    captioner: Captioner,
    domains: Sequence[str] = (),
    console: Console | None = None,
) -> Prepared:
    """Write `prepared` to `to` with the captions of `captioner` for the training images of `domains` (none: of all).

    `origin` says where the captions come from; it becomes part of the dataset's `source`. Raises BadInputError with a line
    for each image that cannot get its caption, and datasets.DatasetError for a folder that holds something else.
    """
    if unknown := [domain for domain in domains if domain not in prepared.domains]:
        raise BadInputError(
            f"dataset {prepared.name} has no domain {domain!r}; it has {', '.join(prepared.domains)}"
            for domain in unknown
        )
    if to.resolve() == Path(prepared.root).resolve():
        raise BadInputError([f"{to} is the folder of the images themselves; give another one with --to"])
    wanted = [d for d in domains or prepared.domains if "train" in prepared.counts[d]]
    images = [sample for domain in wanted for sample in samples(prepared, domain, "train")]
    where = "" if not domains else f" for {', '.join(wanted)}"
    info = _captioned_info(
        prepared, f"{prepared.source}; sha256:{prepared.identity} with captions{where} from {origin}"
    )
    already = (to / FILE_NAME).is_file()
    captions = {} if already else captioner(images)
    made = write_prepared(_Captioned(info, prepared, captions), to, None, prepared.short_side)
    (console or Console(soft_wrap=True)).print(
        f"{made.name} {'has its captions already; verified' if already else 'got captions for'} {len(images):,} training "
        f"images, at {to}; use it with: python -m orchestrator run --data {to.parent}"
        + ("" if to.name.partition("@")[0] == prepared.name else f", once it is called {to.parent / prepared.name}"),
        markup=False,
        highlight=False,
    )
    return made


def from_jsonl(path: Path) -> Captioner:
    """Captions of a file with a line {"key": "<domain>/<key>", "caption": "..."} for each image, in any order.

    The captioner raises BadInputError with a line for each bad line of the file, each image without a caption, and each
    key that is no training image.
    """

    def captions(images: Sequence[Sample]) -> dict[str, str]:
        found, problems = _read_jsonl(path)
        keys = {image.key for image in images}
        problems += _named(f"{path}: no caption for image", [image.key for image in images if image.key not in found])
        problems += _named(f"{path}: key of no such training image:", [key for key in found if key not in keys])
        if problems:
            raise BadInputError(problems)
        return found

    return captions


def _read_jsonl(path: Path) -> tuple[dict[str, str], list[str]]:
    """Key -> caption, and what is wrong with the file."""
    found: dict[str, str] = {}
    problems: list[str] = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # texts of the web have other line ends in them
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError([f"captions {path} cannot be read as UTF-8 text: {error}"]) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key, caption = row["key"], row["caption"].strip()
        except (ValueError, KeyError, TypeError, AttributeError):
            problems.append(f'{path}:{number}: expected {{"key": "DOMAIN/KEY", "caption": "TEXT"}}, got {line[:80]}')
            continue
        if not isinstance(key, str) or not caption:
            problems.append(f"{path}:{number}: the caption of {key!r} is empty")
        elif key in found:
            problems.append(f"{path}:{number}: {key!r} occurs twice")
        else:
            found[key] = caption
    return found, problems


def _named(what: str, keys: Sequence[str]) -> list[str]:
    rest = [f"{what} ... and {len(keys) - MAX_NAMED:,} more"] if len(keys) > MAX_NAMED else []
    return [f"{what} {key}" for key in keys[:MAX_NAMED]] + rest


def _captioned_info(prepared: Prepared, source: str) -> DatasetInfo:
    return DatasetInfo(
        name=prepared.name,
        title=prepared.title,
        revision=prepared.revision,
        domains=prepared.domains,
        classnames=prepared.classnames,
        templates=prepared.templates,
        source=source,
        license=prepared.license,
        citation=prepared.citation,
        counts={d: {split: sum(n) for split, n in splits.items()} for d, splits in prepared.counts.items()},
        groups=prepared.groups,
    )


@dataclass
class _Captioned(Dataset):
    """A prepared dataset's own samples, some with other captions."""

    source_tells = True

    info: DatasetInfo
    prepared: Prepared
    captions: Mapping[str, str]

    def entries(self, domain: str, split: str, source: Published | None) -> list[Entry]:
        """The samples of the shards in stored order; captions are those of the training images.

        A path is '<number of the shard>:<offset>:<bytes>:<extension>'.
        """
        entries = []
        for shard in self.prepared.select(domain, split):
            for e in index_shard(self.prepared.path(shard)):
                caption = self.captions.get(f"{domain}/{e.key}", e.caption) if split == "train" else e.caption
                place = f"{self.prepared.shards.index(shard)}:{e.offset}:{e.size}:{e.extension}"
                entries.append(Entry(e.key, e.label, place, e.size, caption))
        return entries

    def read(self, entry: Entry, source: Published | None) -> tuple[bytes, str]:
        """The image as it is stored."""
        number, offset, size, extension = entry.path.split(":")
        shard = self.prepared.shards[int(number)]
        path, remote = self.prepared.path(shard), self.prepared.remote(shard)
        return Sample(entry.key, entry.label, path, int(offset), int(size), None, remote).read(), extension
