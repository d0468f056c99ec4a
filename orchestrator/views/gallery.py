"""Example images of every domain of the datasets that a folder of results is about, from the prepared shards. No ray, no torch.

Nam et al., Lipsum-FT, arXiv:2404.00860, appendix C and Figure 16. Shown are the first stored test images of the same few classes
in every domain: classes that all domains have, spread evenly over the list of classes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from datasets import DatasetError
from datasets.decoding import open_image
from datasets.prepared import Prepared, open_prepared
from datasets.samples import Sample
from datasets.tar_index import index_shard
from orchestrator.spec import UNPREPARED, BenchmarkPlan, DataRef

NUM_CLASSES = 8
SIDE, QUALITY = 128, 80
"""Pixels of a thumbnail's longer side, and the quality of its JPEG: some 4 KB."""
MOST_REMOTE_SHARDS = 1
"""Shards of a domain that are fetched of a dataset that lies at a URL: they are large."""


@dataclass(frozen=True, slots=True)
class Example:
    """One image, or why there is none."""

    classname: str
    key: str = ""
    jpeg: bytes = b""
    size: tuple[int, int] = (0, 0)
    """of the thumbnail, width and height in pixels"""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A domain with one example of each class."""

    domain: str
    split: str
    num_images: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset with its domains."""

    name: str
    title: str
    attestation: str
    source: str
    license: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A dataset that trials are about, and where their plans say it lies."""

    name: str
    identity: str
    domains: tuple[str, ...]
    places: tuple[str, ...]


def wanted(plans: Iterable[BenchmarkPlan]) -> list[Wanted]:
    """The datasets of all plans, in their order; one content is one dataset, with the domains of all its benchmarks."""
    domains: dict[tuple[str, str], dict[str, None]] = {}
    places: dict[tuple[str, str], dict[str, None]] = {}
    for plan in plans:
        for data, location in dict.fromkeys(_places(plan)):
            key = data[:2]
            domains.setdefault(key, {}).update(dict.fromkeys(data[2]))
            places.setdefault(key, {}).update({location: None})
    return [Wanted(*key, tuple(found), tuple(places[key])) for key, found in domains.items()]


def _places(plan: BenchmarkPlan) -> Iterator[tuple[tuple[str, str, tuple[str, ...]], str]]:
    """((dataset, identity, domains), where it lies)."""
    for trial in plan.trials:
        yield _of(trial.spec.data, plan.domains), trial.location.data
        for ref in trial.spec.data.transfer:
            if place := trial.location.transfer.get(ref.name):
                yield (ref.name, ref.identity, ref.domains), place


def _of(data: DataRef, order: Sequence[str]) -> tuple[str, str, tuple[str, ...]]:
    named = {*data.sources, *data.targets}
    return (
        data.name,
        data.identity,
        tuple(sorted(named, key=lambda d: (order.index(d) if d in order else len(order), d))),
    )


def load(dataset: Wanted) -> Dataset:
    """Read a dataset's examples. Raises DatasetError or OSError, in one line, if its data are not here or are others."""
    prepared = _opened(dataset)
    splits = {domain: _split(prepared, domain) for domain in dataset.domains}
    labels = choose(prepared, splits)
    if not labels:
        raise DatasetError(f"no class of {dataset.name} has images, so there is nothing to show")
    return Dataset(
        name=dataset.name,
        title=prepared.title,
        attestation=prepared.attestation,
        source=prepared.source,
        license=prepared.license,
        rows=tuple(_row(prepared, domain, split, labels) for domain, split in splits.items()),
    )


def choose(prepared: Prepared, splits: dict[str, str]) -> list[int]:
    """Up to NUM_CLASSES labels that the most domains have, spread evenly over the list of classes."""
    having = [
        sum(any(prepared.counts[d][split][one] for one in _labels(prepared, d, label)) for d, split in splits.items())
        for label in range(len(prepared.classnames))
    ]
    most = max(having)
    common = [label for label, number in enumerate(having) if most and number == most]
    shown = min(NUM_CLASSES, len(common))
    return [common[place * len(common) // shown] for place in range(shown)]


def thumbnail(data: bytes) -> tuple[bytes, tuple[int, int]]:
    """A JPEG of an encoded image, at most SIDE pixels wide and high, without what else the file held; and its size.

    Raises OSError (Pillow's errors among them) or ValueError for what is no image.
    """
    with open_image(data) as opened:
        image = opened.convert("RGB")
    image.thumbnail((SIDE, SIDE))
    # Pillow passes comments and profiles of the file on; a new image has none.
    clean = Image.new("RGB", image.size)
    clean.paste(image)
    out = io.BytesIO()
    clean.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue(), clean.size


def _opened(dataset: Wanted) -> Prepared:
    """The data, from the first place that has them with the trials' content."""
    problems = ["the plan was made before its data were prepared"] if dataset.identity == UNPREPARED else []
    for place in [] if problems else dataset.places:
        try:
            prepared = open_prepared(place)
        except (DatasetError, OSError) as error:
            problems.append(" ".join(str(error).split()))
            continue
        if prepared.identity == dataset.identity:
            return prepared
        problems.append(
            f"{place} has other data (content {prepared.identity[:12]}, the trials' is {dataset.identity[:12]})"
        )
    raise DatasetError("; ".join(problems) or "its plan does not say where its data lie")


def _split(prepared: Prepared, domain: str) -> str:
    splits = prepared.counts.get(domain, {})
    if not splits:
        raise DatasetError(f"{prepared.root} has no domain {domain!r}; it has {', '.join(prepared.domains)}")
    return "test" if "test" in splits else next(iter(splits))


def _labels(prepared: Prepared, domain: str, label: int) -> tuple[int, ...]:
    """The labels that count as a class where a domain has groups of classes."""
    return next((group for group in prepared.groups.get(domain, ()) if label in group), (label,))


def _row(prepared: Prepared, domain: str, split: str, labels: Sequence[int]) -> Row:
    found = _first(prepared, domain, split, labels)
    names = [prepared.classnames[label] for label in labels]
    examples = (_example(name, found.get(label), domain) for label, name in zip(labels, names, strict=True))
    return Row(domain, split, sum(prepared.counts[domain][split]), tuple(examples))


def _first(prepared: Prepared, domain: str, split: str, labels: Sequence[int]) -> dict[int, Sample]:
    """The first stored image of each class; shards are opened until all are found."""
    classes = {one: label for label in labels for one in _labels(prepared, domain, label)}
    counts = prepared.counts[domain][split]
    number = len({label for one, label in classes.items() if counts[one]})
    found: dict[int, Sample] = {}
    shards = prepared.select(domain, split)
    for shard in shards if "://" not in prepared.root else shards[:MOST_REMOTE_SHARDS]:
        if len(found) == number:
            break
        path = prepared.path(shard)
        for entry in index_shard(path):
            if (label := classes.get(entry.label)) is not None and label not in found:
                key = f"{domain}/{entry.key}"
                found[label] = Sample(key, entry.label, path, entry.offset, entry.size, remote=prepared.remote(shard))
    return found


def _example(classname: str, sample: Sample | None, domain: str) -> Example:
    if sample is None:
        return Example(classname, why=f"none found of {domain}")
    try:
        jpeg, size = thumbnail(sample.read())
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return Example(classname, sample.key, why=f"cannot be read: {' '.join(str(error).split())}")
    return Example(classname, sample.key, jpeg, size)
