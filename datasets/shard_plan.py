"""What `prepare` will write, worked out before anything is read or written: entries checked, counted, cut into shards.

The cut depends on the entries alone, not on what becomes of the images, so that any worker can write any shard.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import datasets
from datasets import DatasetError, shard_file
from datasets.base import SPLITS, Dataset, DatasetInfo, Entry, Published
from datasets.shard_work import ShardTask
from datasets.tar_index import IMAGE_EXTENSIONS
from datasets.wording import number_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_BAD_KEY = re.compile(r"[./\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_CLASSES = 10
"""Classes of one split whose counts differ that are named one by one."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of one split in order."""

    domain: str
    split: str
    entries: Sequence[Entry]

    @property
    def place(self) -> str:
        """'<domain>/<split>'."""
        return f"{self.domain}/{self.split}"

    def per_class(self, num_classes: int) -> list[int]:
        """Images of each class."""
        found = Counter(entry.label for entry in self.entries)
        return [found[label] for label in range(num_classes)]

    def tasks(self, source: Published | None = None) -> Iterator[ShardTask]:
        """The shards: at most MAX_SAMPLES images each, and MAX_BYTES as published where sizes are known.

        Sizes that a dataset does not state are those of the files in `source`, without reading any. What is no image (a
        video, say) is stored as something else, so its size says nothing.
        """
        number, part, total, seen = 0, list[Entry](), 0, hashlib.sha256()
        for entry in self.entries:
            state = _state(source, entry)
            size = state[0] if entry.size is None and _is_image(entry) else entry.size or 0
            if part and (len(part) >= shard_file.MAX_SAMPLES or total + size > shard_file.MAX_BYTES):
                yield self._task(number, part, seen.hexdigest())
                number, part, total, seen = number + 1, [], 0, hashlib.sha256()
            part.append(entry)
            total += size
            seen.update(b"%d %d\n" % state)
        if part:
            yield self._task(number, part, seen.hexdigest())

    def _task(self, number: int, part: Sequence[Entry], files: str) -> ShardTask:
        return ShardTask(f"{self.domain}/{self.split}-{number:06d}.tar", self.domain, self.split, tuple(part), files)


def _is_image(entry: Entry) -> bool:
    return entry.path.rpartition(".")[2].lower() in IMAGE_EXTENSIONS


def _state(source: Published | None, entry: Entry) -> tuple[int, int]:
    """As `Published.state`; (0, 0) for what is made from nothing, and for what is lost by now: reading it will say so."""
    try:
        return (0, 0) if source is None else source.state(entry.path)
    except FileNotFoundError:
        return 0, 0


def narrowed(info: DatasetInfo, domains: Sequence[str] | None) -> DatasetInfo:
    """The facts of some domains, in the dataset's order; None: `info.default_domains`. Raises DatasetError."""
    chosen = info.default_domains if domains is None else tuple(domains)
    for domain in chosen:
        if domain not in info.domains:
            near = difflib.get_close_matches(domain, info.domains, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise DatasetError(f"dataset {info.name} has no domain {domain!r}{hint} (it has {', '.join(info.domains)})")
    if not chosen:
        raise DatasetError(f"dataset {info.name}: give at least one domain of {', '.join(info.domains)}")
    return replace(
        info,
        domains=tuple(domain for domain in info.domains if domain in chosen),
        counts={d: n for d, n in info.counts.items() if d in chosen},
        class_counts={d: n for d, n in info.class_counts.items() if d in chosen},
        groups={d: g for d, g in info.groups.items() if d in chosen},
        optional_domains=tuple(d for d in info.optional_domains if d in chosen),
        seen_unseen=info.seen_unseen if info.seen_unseen and set(info.seen_unseen) <= set(chosen) else None,
    )


def check_names(info: DatasetInfo, short_side: int | None) -> None:
    """Refuse facts that cannot become file names, splits or sizes. Raises DatasetError."""
    for what, names in (("name", (info.name,)), ("domain", info.domains)):
        if bad := [name for name in names if not _NAME.fullmatch(name)]:
            raise DatasetError(f"dataset {info.name}: {what} {bad[0]!r} must consist of letters, digits, '_' and '-'")
    for domain, splits in info.counts.items():
        if unknown := [split for split in splits if split not in SPLITS]:
            raise DatasetError(
                f"dataset {info.name}: counts of {domain} name split {unknown[0]!r}; splits are train and test"
            )
    if short_side is not None and short_side < 1:
        raise DatasetError(f"short side must be at least 1 pixel, got {short_side}")


def list_entries(dataset: Dataset, info: DatasetInfo, source: Published | None) -> list[Listing]:
    """All splits of the domains in `info`, checked.

    Raises FileNotFoundError naming everything that is missing, DatasetError with a line for each bad entry and for each
    count that differs from the published one.
    """
    listings, missing = [], dict[str, None]()
    for domain in info.domains:
        for split in dataset.splits(domain):
            try:
                listings.append(Listing(domain, split, dataset.entries(domain, split, source)))
            except FileNotFoundError as error:
                missing[str(error)] = None
    if missing:
        raise FileNotFoundError("\n".join(missing))
    problems = [problem for listing in listings for problem in _entry_problems(listing, info)]
    hint: list[str] = []
    if not problems and (problems := _count_problems(listings, info)):
        hint = [_revision_hint(info, listings, source)]
    if not problems:
        problems = _empty_splits(listings, info)
    if problems:
        headline = f"dataset {info.name}: {number_of(len(problems), 'problem')}"
        raise DatasetError("\n".join([headline, *problems, *hint]))
    return listings


def _entry_problems(listing: Listing, info: DatasetInfo) -> Iterator[str]:
    times = Counter(entry.key for entry in listing.entries)
    for key, count in times.items():
        if count > 1:
            yield f"{listing.place}: image {key!r}: its key occurs {count} times in this split"
    for entry in listing.entries:
        if not entry.key or _BAD_KEY.search(entry.key):
            yield (
                f"{listing.place}: image {entry.key!r}: a key must be UTF-8 text, not empty and without dots, slashes or "
                "control characters"
            )
        if not 0 <= entry.label < len(info.classnames):
            yield (
                f"{listing.place}: image {entry.key!r}: label {entry.label} is out of range, "
                f"expected 0 to {len(info.classnames) - 1}"
            )
    yield from _outside_groups(listing, info)


def _outside_groups(listing: Listing, info: DatasetInfo) -> Iterator[str]:
    """Classes that a split has images of, and the groups of its domain leave out: such an image cannot be measured."""
    if listing.domain not in info.groups:
        return
    measured = {label for group in info.groups[listing.domain] for label in group}
    images = Counter(entry.label for entry in listing.entries)
    for label in sorted(set(images) & set(range(len(info.classnames))) - measured):
        yield (
            f"{listing.place}: {number_of(images[label], 'image')} of class {info.classnames[label]} ({label}), which is "
            f"in no group of {listing.domain}; groups must name every class that the domain has"
        )


def _count_problems(listings: Sequence[Listing], info: DatasetInfo) -> list[str]:
    return [problem for x in listings for problem in _differences(info, x)]


def _empty_splits(listings: Sequence[Listing], info: DatasetInfo) -> list[str]:
    """Splits without images, but for those that are known to be empty."""
    return [
        f"{x.place}: has no images; a card says `all_in: {_other(x.split)}` where all are for one split, and "
        f"`counts: {{{x.domain}: {{{x.split}: 0}}}}` where this one is empty"
        for x in listings
        if not x.entries and info.counts.get(x.domain, {}).get(x.split) != 0
    ]


def _other(split: str) -> str:
    return "test" if split == "train" else "train"


def _differences(info: DatasetInfo, listing: Listing) -> Iterator[str]:
    """Counts of a split that are not the known ones."""
    place, found = listing.place, listing.per_class(len(info.classnames))
    total = info.counts.get(listing.domain, {}).get(listing.split)
    if total is not None and sum(found) != total:
        yield f"{place}: expected {number_of(total, 'image')}, found {sum(found):,}"
    known = info.class_counts.get(listing.domain, {}).get(listing.split, found)
    wrong = [label for label, (a, b) in enumerate(zip(known, found, strict=True)) if a != b]
    for label in wrong[:_MAX_CLASSES]:
        yield (
            f"{place}: class {info.classnames[label]} ({label}): expected {number_of(known[label], 'image')}, found "
            f"{found[label]:,}"
        )
    if len(wrong) > _MAX_CLASSES:
        yield f"{place}: ... and {number_of(len(wrong) - _MAX_CLASSES, 'more class', 'more classes')} with other counts"


def _revision_hint(info: DatasetInfo, listings: Sequence[Listing], source: Published | None) -> str:
    """Which other revision has the counts that were found, or finds its own in the same files."""
    try:
        others = {name: dataset for name, dataset in datasets.revisions(info.name).items() if name != info.revision}
    except DatasetError:  # a card of one's own: nothing else goes by its name
        others = {}
    for revision, other in others.items():
        if _fits(other.info, listings) or _fits(other.info, _listed(other, info.domains, source)):
            return (
                f"these are the counts of revision {revision!r}: to prepare that one, name it {info.name}@{revision}; "
                f"for revision {info.revision!r}, get the files from {info.source}"
            )
    known = f"nor of {', '.join(map(repr, others))}" if others else "and no other revision is known"
    return f"these are not the counts of revision {info.revision!r} {known}; get the files from {info.source}"


def _listed(dataset: Dataset, domains: Sequence[str], source: Published | None) -> list[Listing]:
    """What another revision finds in the same files; nothing if they do not fit it."""
    try:
        return [
            Listing(domain, split, dataset.entries(domain, split, source))
            for domain in domains
            if domain in dataset.info.domains
            for split in dataset.splits(domain)
        ]
    except (DatasetError, OSError):
        return []


def _fits(info: DatasetInfo, listings: Sequence[Listing]) -> bool:
    """Whether there are counts for all of it and none differs."""
    known = all(x.split in info.counts.get(x.domain, {}) for x in listings)
    labels = max((entry.label for x in listings for entry in x.entries), default=len(info.classnames))
    return known and labels < len(info.classnames) and not _count_problems(listings, info)
