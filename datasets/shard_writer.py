"""Prepares a dataset: lists and checks its entries, has the shards written, can be interrupted at any moment.

While it works, the folder holds a journal of finished shards; the same command then goes on with those that are missing.
`dataset.json` is written last, when every shard is on disk. Nothing in it depends on how many workers there were.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import PIL
import PIL.features

from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo, PublishedFile
from datasets.parallel import Runner
from datasets.shard_file import sync_folder, write_atomic
from datasets.shard_journal import Journal
from datasets.shard_plan import Listing, check_names, list_entries, narrowed
from datasets.shard_work import BadImage, ShardMaker, ShardRecord, ShardTask
from datasets.shards import FILE_NAME, Done, Prepared, Progress, described, file_text, open_prepared, verify_prepared
from datasets.wording import number_of

BAD_IMAGES = "bad_images.jsonl"
_MAX_NAMED = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be prepared."""

    dataset: Dataset
    to: Path
    source: Path | None = None
    """Folder or archive with the published files; None for a generated dataset."""
    short_side: int | None = None
    """Pixels that larger images are reduced to; see `datasets.images`."""
    domains: Sequence[str] | None = None
    """None: the dataset's default ones"""
    bad_images: Literal["fail", "list"] = "fail"
    """Images that cannot be decoded: an error that names them all, or left out, listed in BAD_IMAGES and counted."""

    def text(self, info: DatasetInfo) -> dict[str, Any]:
        """Everything that a shard depends on, for the journal; not what is done about bad images."""
        return _meaning(self.dataset, info) | {
            "counts": {domain: dict(splits) for domain, splits in info.counts.items()},
            "source": _source_state(self.source, self.dataset.files),
            "short_side": self.short_side,
            "pillow": [PIL.__version__, PIL.features.version("libjpeg_turbo"), PIL.features.version("zlib")],
        }


def write(request: Request, runner: Runner, progress: Progress | None = None) -> Prepared:
    """Prepare what `request` says and return it; `runner` runs the work.

    Prepared already: verifies every hash and does nothing else. Interrupted before: goes on with the missing shards.
    Raises FileNotFoundError for missing published files, and DatasetError with one line for each bad image, count that
    differs or other problem.
    """
    info = narrowed(request.dataset.info, request.domains)
    check_names(info, request.short_side)
    with only_one(request.to):
        if (request.to / FILE_NAME).exists():
            prepared = open_prepared(request.to)
            check_same(request, prepared)
            verify_prepared(prepared)
            return prepared
        maker = ShardMaker(request.dataset, request.to, request.source, request.short_side, info.domains)
        listings = list_entries(request.dataset, info, maker.published())
        tasks = [task for listing in listings for task in listing.tasks(maker.published())]
        with Journal(request.to, request.text(info)) as journal:
            # The code of a generated dataset may have changed meanwhile, and it is quick to make.
            tasks = journal.begin(tasks, start_over=request.dataset.generated)
            records = _run(maker, tasks, runner, journal, progress)
            _publish(request, info, listings, records)
            journal.remove()
    return open_prepared(request.to)


def _run(
    maker: ShardMaker, tasks: Sequence[ShardTask], runner: Runner, journal: Journal, progress: Progress | None
) -> list[ShardRecord]:
    """The records of all tasks in their order."""
    total, done, images, kept = sum(len(task.entries) for task in tasks), [0] * len(tasks), 0, 0
    records: dict[int, ShardRecord] = {}

    def tick(number: int, now: int) -> None:
        nonlocal images, kept
        task, more = tasks[number], now - done[number]
        done[number], images, kept = now, images + more, kept + more * (task.known is not None)
        if progress is not None and more:
            progress(Done(f"{task.domain}/{task.split}", images, total, kept))

    # Closed at once, not when it is collected: an interrupt must stop the workers before the folder is given free.
    with contextlib.closing(runner(maker, tasks, tick)) as results:
        for number, record in results:
            records[number] = record
            if record != tasks[number].known:
                journal.add(record)
            tick(number, len(tasks[number].entries))
    return [records[number] for number in range(len(tasks))]


def _publish(request: Request, info: DatasetInfo, listings: Sequence[Listing], records: Sequence[ShardRecord]) -> None:
    """Write `dataset.json`, after the list of bad images. Raises DatasetError if there are some and there must not be."""
    bad = [image for record in records for image in record.bad]
    listed = request.to / BAD_IMAGES
    if bad:
        write_atomic(listed, "".join(f"{json.dumps(asdict(image), ensure_ascii=False)}\n" for image in bad))
    else:
        listed.unlink(missing_ok=True)
    if bad and request.bad_images == "fail":
        raise DatasetError("\n".join(_bad_lines(info, bad, listed)))
    counts = _counts(info, listings, bad)
    shards = [record.shard for record in records if record.shard]
    if empty := [x.place for x in listings if x.entries and not any(counts[x.domain][x.split])]:
        raise DatasetError(f"{', '.join(empty)}: none of the images can be decoded")
    reencoded = _by_place((r.shard.domain, r.shard.split, r.reencoded) for r in records if r.shard and r.reencoded)
    left_out = _by_place((image.domain, image.split, 1) for image in bad)
    if unseen := [shard.name for shard in shards if not (request.to / shard.name).is_file()]:
        raise DatasetError(
            f"{request.to / unseen[0]} is not here; all workers must see that folder under the same path"
        )
    for folder in {(request.to / shard.name).parent for shard in shards}:
        sync_folder(folder)
    text = file_text(info, request.short_side, counts, shards, bad_images=left_out, reencoded=reencoded)
    write_atomic(request.to / FILE_NAME, text)


def _counts(info: DatasetInfo, listings: Sequence[Listing], bad: Sequence[BadImage]) -> dict[str, dict[str, list[int]]]:
    """domain -> split -> images of each class that are stored."""
    left_out = {(image.domain, image.split, image.key) for image in bad}
    counts: dict[str, dict[str, list[int]]] = {}
    for listing in listings:
        per_class = listing.per_class(len(info.classnames))
        for entry in listing.entries if left_out else ():
            per_class[entry.label] -= (listing.domain, listing.split, entry.key) in left_out
        counts.setdefault(listing.domain, {})[listing.split] = per_class
    return counts


def _by_place(rows: Iterator[tuple[str, str, int]]) -> dict[str, dict[str, int]]:
    sums: dict[str, dict[str, int]] = {}
    for domain, split, number in rows:
        splits = sums.setdefault(domain, {})
        splits[split] = splits.get(split, 0) + number
    return sums


def _bad_lines(info: DatasetInfo, bad: Sequence[BadImage], listed: Path) -> list[str]:
    what = f"{number_of(len(bad), 'image')} that cannot be decoded"
    rest = [f"... and {len(bad) - _MAX_NAMED:,} more, all in {listed}"] if len(bad) > _MAX_NAMED else []
    return [
        f"dataset {info.name}: {what}; get {'them' if len(bad) > 1 else 'it'} again, or leave out what is listed with "
        "--bad-images list (the rest is kept)",
        *map(str, bad[:_MAX_NAMED]),
        *rest,
    ]


def _source_state(source: Path | None, files: Sequence[PublishedFile]) -> list[list[str | int]] | None:
    """Where the published files are and which versions of the archives."""
    if source is None:
        return None
    versions: list[list[str | int]] = [[str(source.resolve())]]
    for path in (source, *(source / file.name for file in files)):
        if path.is_file():
            versions.append([str(path), path.stat().st_size, path.stat().st_mtime_ns])
    return versions


def check_same(request: Request, prepared: Prepared) -> None:
    """Raise DatasetError if `prepared` is not what is asked for; hashes nothing."""
    info, to = narrowed(request.dataset.info, request.domains), prepared.root
    lacking = [domain for domain in info.domains if domain not in prepared.domains]
    if prepared.name == info.name and lacking:
        both = [d for d in request.dataset.info.domains if d in (*prepared.domains, *lacking)]
        raise DatasetError(
            f"{to} holds {', '.join(prepared.domains)} of dataset {info.name}, without {', '.join(lacking)}; to add that, "
            f"prepare all of them with --domains {','.join(both)} into another folder (--to), or delete this one first"
        )
    if request.domains is None:  # optional ones may have been asked for before
        info = narrowed(request.dataset.info, [d for d in request.dataset.info.domains if d in prepared.domains])
    asked = _meaning(request.dataset, info) | {"short_side": request.short_side}
    for key, value in asked.items():
        found = _plain(getattr(prepared, key))
        if found != value:
            raise _other(prepared, key, found, value)
    for domain, splits in info.counts.items():
        for split, count in splits.items():
            stored = sum(prepared.counts.get(domain, {}).get(split, ()))
            stored += prepared.bad_images.get(domain, {}).get(split, 0)
            if stored != count:
                raise _other(prepared, f"number of images of {domain}/{split}", stored, count)
    if prepared.bad_images and request.bad_images == "fail":
        raise DatasetError(
            f"{to} was prepared without the bad images in its {BAD_IMAGES}; accept that with --bad-images list, or delete "
            "that folder and prepare it from whole files"
        )


def reworded(dataset: Dataset, prepared: Prepared) -> list[str]:
    """Which facts that change neither images nor what they mean were edited since: title, licence and the like."""
    now, meaning = described(dataset.info), _meaning(dataset, dataset.info)
    return [key for key in now if key not in meaning and getattr(prepared, key) != now[key]]


def _meaning(dataset: Dataset, info: DatasetInfo) -> dict[str, Any]:
    """The facts without which prepared data would be others, or mean something else."""
    keys = ("name", "revision", "domains", "classnames", "templates", "groups")
    return {key: _plain(getattr(info, key)) for key in (*keys, *(("source",) if dataset.source_tells else ()))}


def _plain(value: Any) -> Any:
    """A fact as JSON has it."""
    return json.loads(json.dumps(value, default=dict))


def _other(prepared: Prepared, what: str, found: object, asked: object) -> DatasetError:
    return DatasetError(
        f"{prepared.root} holds dataset {prepared.name} prepared with another {what} "
        f"({_short(found)}, asked for {_short(asked)}); delete that folder or give another one"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@contextlib.contextmanager
def only_one(to: Path, what: str = "") -> Iterator[None]:
    """Hold the folder, so that two processes never prepare into it at once; `what` stands for it in the error."""
    try:
        to.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DatasetError(f"{to} is not a folder") from None
    descriptor = os.open(to, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"another process is preparing {what or to}; wait for it to end") from None
        yield
    finally:
        os.close(descriptor)
