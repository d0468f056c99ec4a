"""Prepares a dataset for the command line: downloads what is asked for, shows how far it is, says what was done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

import datasets
from datasets.base import Dataset, PublishedFile
from datasets.parallel import Runner, available_cores, in_process, processes
from datasets.shard_plan import narrowed
from datasets.shard_writer import BAD_IMAGES, Request, check_same, only_one, reworded, write
from datasets.shards import FILE_NAME, Prepared, open_prepared
from datasets.sources.address import file_name, folder_of, needs_a_browser, without_secrets
from datasets.sources.names import ARCHIVE_SUFFIXES, is_archive
from datasets.storage import local_folder
from datasets.wording import number_of
from orchestrator.prepare.display import Display, Transfers
from orchestrator.prepare.upload import bound
from orchestrator.prepare.verify import verify

PUBLISHED = "published"
"""As a source: download from the addresses that the authors give."""
IMAGES_PER_WORKER = 500
"""Fewer than that, and starting another process takes longer than the work."""
_MAX_CLASSES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to prepare; none of it but `domains` and `bad_images` changes a byte of the result."""

    domains: Sequence[str] | None = None
    """None: the dataset's default ones"""
    workers: int | None = None
    """Processes; None: the cores that there are, fewer for a small dataset."""
    bad_images: Literal["fail", "list"] = "fail"
    downloads: Path | None = None
    """Folder for downloaded files; None: downloads/<name> beside the shards' folder"""
    runner: Runner | None = None
    """Runs the work instead of processes of this machine."""


def prepare(
    name_or_card: str,
    source: Path | str | None,
    to: Path | str,
    short_side: int | None,
    console: Console | None = None,
    options: Options = Options(),
) -> Prepared:
    """Turn a dataset into shards under `to`, or verify the hashes if that is done already.

    `source` is the folder or archive with the published files, the URL of a folder that has them or of an archive, or
    'published' (None for a generated dataset). `to` may be a URI that fsspec can write to. `short_side` in pixels reduces
    larger images. On a terminal it shows a bar, elsewhere a line every 15 s; `Console(quiet=True)` shows nothing.
    Raises datasets.DatasetError and FileNotFoundError with messages for the user, a line for each problem.
    """
    console = console or Console(soft_wrap=True)
    dataset = datasets.load(name_or_card)
    if isinstance(source, str):
        local_folder(source)  # what is no URL is refused here, whatever it is needed for
    if dataset.generated and source is not None:
        place = without_secrets(source) if isinstance(source, str) else source
        raise datasets.DatasetError(f"dataset {dataset.info.name} is made from nothing; leave out the source {place}")
    narrowed(dataset.info, options.domains)  # a wrong name must not wait for a download
    started = time.monotonic()
    folder = local_folder(to)
    if folder is not None:
        done_before = (folder / FILE_NAME).exists()
        prepared = _prepare(dataset, source, folder, short_side, console, options)
    else:
        upload = bound(str(to))
        done_before = upload.is_done()
        if done_before:
            prepared = open_prepared(upload.url)
            check_same(_request(dataset, Path(upload.url), None, short_side, options), prepared)
            verify(prepared, options.workers, decode=False, console=console, runner=options.runner)
        else:
            with only_one(upload.scratch.parent, upload.url):  # who is done removes what another would still be sending
                _prepare(dataset, source, upload.scratch, short_side, console, options)
                prepared = upload.send(console)
    seconds = time.monotonic() - started
    edited = reworded(dataset, prepared)
    if edited:
        edited = [f"{', '.join(edited)} in its {FILE_NAME}: as of when it was prepared; the dataset now says otherwise"]
    for line in (_summary(prepared, done_before, seconds), *notes(prepared), *edited, prepared.attestation):
        console.print(line, markup=False, highlight=False)
    return prepared


def notes(prepared: Prepared) -> list[str]:
    """What a user must know about a prepared dataset: images left out or stored otherwise, classes without an image."""
    lines = [
        f"{domain}/{split}: {number_of(count, 'bad image is', 'bad images are')} left out, listed in "
        f"{prepared.root}/{BAD_IMAGES}"
        for domain, splits in prepared.bad_images.items()
        for split, count in splits.items()
    ]
    lines += [
        f"{domain}/{split}: {number_of(count, 'image is', 'images are')} stored as PNG, with the pixels that PIL gives"
        for domain, splits in prepared.reencoded.items()
        for split, count in splits.items()
    ]
    for domain, splits in prepared.counts.items():
        groups = prepared.groups.get(domain)
        expected = range(len(prepared.classnames)) if groups is None else [group[0] for group in groups]
        for split, per_class in splits.items():
            empty = [f"{prepared.classnames[label]} (class {label})" for label in expected if not per_class[label]]
            rest = f" and {len(empty) - _MAX_CLASSES:,} more" if len(empty) > _MAX_CLASSES else ""
            if empty and any(per_class):
                lines.append(f"{domain}/{split}: no image of {', '.join(empty[:_MAX_CLASSES])}{rest}")
    return lines


def _request(dataset: Dataset, to: Path, source: Path | None, short_side: int | None, options: Options) -> Request:
    return Request(dataset, to, source, short_side, options.domains, options.bad_images)


def _prepare(
    dataset: Dataset, source: Path | str | None, to: Path, short_side: int | None, console: Console, options: Options
) -> Prepared:
    if (to / FILE_NAME).exists():  # nothing is needed but what is there
        local = None if isinstance(source, str) else source
        return write(_request(dataset, to, local, short_side, options), in_process)
    local = _downloaded(dataset, source, to, console, options) if isinstance(source, str) else source
    images = sum(sum(dataset.info.counts.get(d, {}).values()) for d in narrowed(dataset.info, options.domains).domains)
    workers = options.workers or min(available_cores(), -(-images // IMAGES_PER_WORKER) or available_cores())
    with Display(f"prepare {dataset.info.name}", console) as display:
        request = _request(dataset, to, local, short_side, options)
        return write(request, options.runner or processes(workers), display.update)


def _downloaded(dataset: Dataset, source: str, to: Path, console: Console, options: Options) -> Path:
    """Where the files of a dataset lie, after they were downloaded. Raises DatasetError, FileNotFoundError."""
    from datasets.sources.download import download  # brings a client for HTTP

    info = dataset.info
    files, base = _wanted(dataset, source)
    folder = options.downloads or to.parent / "downloads" / info.name
    domains = narrowed(info, options.domains).domains
    with Transfers(f"download {info.name}", console) as shown:
        found = download(files, base, folder, domains, shown.update, homepage=info.source)
    return folder if files == dataset.files else found[0]


def _wanted(dataset: Dataset, source: str) -> tuple[tuple[PublishedFile, ...], str | None]:
    """What to download and the URL of the folder that has it; None: from the files' own addresses.

    `source` is the URL of such a folder or of one of the dataset's files in it, or that of an archive of any other name,
    which then is all that is needed, as an archive on disk would be. Raises DatasetError.
    """
    if source == PUBLISHED and dataset.files:
        return dataset.files, None
    name = "" if source == PUBLISHED else file_name(source)
    if folders := [url for file in dataset.files if (url := folder_of(source, file.name)) is not None]:
        return dataset.files, folders[0]
    if is_archive(name):
        if needs_a_browser(source):
            raise datasets.DatasetError(
                f"{without_secrets(source)}: its site lets no program download; get it with a browser and give --from the file"
            )
        return (PublishedFile(name=name, urls=(source,)),), None
    if dataset.files:
        return dataset.files, source
    raise datasets.DatasetError(
        f"dataset {dataset.info.name} has no list of files to download; give --from a folder or an archive, or the URL of "
        f"an archive ({', '.join(ARCHIVE_SUFFIXES)}); see {dataset.info.source}"
    )


def _summary(prepared: Prepared, done_before: bool, seconds: float) -> str:
    images, size = sum(shard.count for shard in prepared.shards), sum(shard.bytes for shard in prepared.shards)
    verb = "is prepared already; verified" if done_before else "prepared:"
    return (
        f"{prepared.name} {verb} {number_of(images, 'image')} in {number_of(len(prepared.shards), 'shard')}, "
        f"{size / 2**20:,.1f} MiB, {seconds:.1f} s, at {prepared.root}"
    )
