"""Re-reads a prepared dataset against its `dataset.json`: every size, hash, sample and image."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import datasets
from datasets.parallel import Runner, available_cores, processes
from datasets.prepared import remedy
from datasets.shard_check import ShardChecker, ShardState
from datasets.shards import FILE_NAME, Done, Prepared, ShardInfo, open_prepared
from orchestrator.paths import is_url
from orchestrator.prepare.display import Display

IMAGES_PER_WORKER = 2000


class DamagedError(datasets.DatasetError):
    """A prepared dataset is not what its `dataset.json` says; a line for each difference and one that says what to do."""

    def __init__(self, problems: Sequence[str], todo: str) -> None:
        self.problems = list(problems)
        super().__init__("\n".join([*self.problems, todo]))


def verify(
    prepared: Prepared,
    workers: int | None = None,
    *,
    decode: bool = True,
    console: Console | None = None,
    runner: Runner | None = None,
) -> str:
    """Re-read everything and return the attestation. Raises DamagedError with everything that differs.

    Shards are read by `workers` processes (None: as many as there are cores, fewer for a small dataset), or by `runner`.
    """
    checker = ShardChecker(prepared.root, len(prepared.classnames), decode)
    total, done = sum(shard.count for shard in prepared.shards), Counter[int]()
    states: dict[int, ShardState] = {}
    count = workers or min(available_cores(), total // IMAGES_PER_WORKER + 1)
    with Display(f"verify {prepared.name}", console or Console(quiet=True)) as display:

        def tick(number: int, images: int) -> None:
            shard = prepared.shards[number]
            done[number] = images
            display.update(Done(f"{shard.domain}/{shard.split}", done.total(), total, 0))

        # Closed at once, not when it is collected: an interrupt must not wait for all that is still to be read.
        with contextlib.closing((runner or processes(count))(checker, prepared.shards, tick)) as found:
            states.update(found)
    ordered = [states[number] for number in range(len(prepared.shards))]
    problems = [problem for state in ordered for problem in state.problems]
    if problems := [*problems, *_across(prepared, ordered), *_surplus(prepared)]:
        raise DamagedError(problems, _todo(prepared))
    return prepared.attestation


def find(name_or_place: str, data: Path = Path("data"), check_shards: bool = True) -> Prepared:
    """The prepared dataset of a name or a card (in `data`), in a folder or at a URL; `check_shards` as `open_prepared` has it.

    Raises FileNotFoundError with the command that prepares it, or with what is wrong with the card; DatasetError for a
    `dataset.json` that says what cannot be.
    """
    if is_url(name_or_place):
        return open_prepared(name_or_place, check_shards)
    folder = Path(name_or_place).expanduser()
    if datasets.is_card_path(name_or_place) and not folder.is_dir():
        return _of_card(folder, data, check_shards)
    if not (folder / FILE_NAME).is_file() and (data / name_or_place / FILE_NAME).is_file():
        folder = data / name_or_place
    if not (folder / FILE_NAME).is_file() and "/" not in name_or_place:
        raise FileNotFoundError(
            f"no prepared dataset in {folder} or {data / name_or_place}; "
            f"first: python -m orchestrator prepare {name_or_place}"
        )
    return open_prepared(folder, check_shards)


def _of_card(card: Path, data: Path, check_shards: bool) -> Prepared:
    try:
        folder = data / datasets.folder_name(card)
    except datasets.DatasetError as error:
        raise FileNotFoundError(str(error)) from None
    if not (folder / FILE_NAME).is_file():
        raise FileNotFoundError(
            f"no prepared dataset in {folder}; first: python -m orchestrator prepare {card} --from FOLDER_OR_ARCHIVE"
        )
    return open_prepared(folder, check_shards)


def _across(prepared: Prepared, states: Sequence[ShardState]) -> list[str]:
    """What is wrong between shards: counts of classes, keys that occur twice.

    A split with a shard that cannot be read is left out: that shard is named already, and every class would lack images.
    """
    problems = []
    for domain, splits in prepared.counts.items():
        for split, expected in splits.items():
            here = [s for shard, s in zip(prepared.shards, states, strict=True) if _of(shard, domain, split)]
            if not all(state.is_read for state in here):
                continue
            found: Counter[int] = Counter()
            keys: Counter[str] = Counter()
            for state in here:
                found.update(state.labels)
                keys.update(state.keys)
            problems += [
                f"{domain}/{split}: class {prepared.classnames[label]} ({label}): {found[label]:,} images, "
                f"expected {count:,}"
                for label, count in enumerate(expected)
                if found[label] != count
            ]
            problems += [f"{domain}/{split}: key {key!r} occurs {n} times" for key, n in keys.items() if n > 1]
    return problems


def _of(shard: ShardInfo, domain: str, split: str) -> bool:
    return (shard.domain, shard.split) == (domain, split)


def _todo(prepared: Prepared) -> str:
    """What to do about a dataset that is damaged."""
    ref = prepared.name
    with contextlib.suppress(datasets.DatasetError):  # a card of one's own
        known = list(datasets.revisions(ref))
        ref += f"@{prepared.revision}" if prepared.revision in known[1:] else ""
    command = f"python -m orchestrator prepare {ref}, with the options that it was made with"
    return (
        f"what to do: {remedy(prepared.root)} ({command}); or put whole copies of the shards named here in their places"
    )


def _surplus(prepared: Prepared) -> list[str]:
    """Shards in the folder that `dataset.json` does not know."""
    if is_url(prepared.root):
        return []  # not every storage can list
    known = {shard.name for shard in prepared.shards}
    found = sorted(path.relative_to(prepared.root).as_posix() for path in Path(prepared.root).glob("*/*.tar"))
    return [f"{prepared.root}/{name}: is no shard of dataset.json" for name in found if name not in known]
