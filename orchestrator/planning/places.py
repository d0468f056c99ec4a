"""Where a manifest's prepared datasets are expected, what is found there, and whether it has all that a benchmark needs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import datasets
from datasets.base import DatasetInfo
from datasets.shards import Prepared, open_prepared
from datasets.storage import join
from orchestrator.manifest.read import Benchmark, Manifest, ManifestError


def data_folder(manifest: Manifest, benchmark: Benchmark) -> Path | str:
    """Where the benchmark's prepared dataset is expected."""
    return folder_of(manifest, benchmark.dataset_ref)


def folder_of(manifest: Manifest, ref: str) -> Path | str:
    """Where the prepared dataset of a reference is expected: a folder or a URL."""
    name = datasets.folder_name(ref)
    return manifest.data / name if isinstance(manifest.data, Path) else join(manifest.data, name)


def open_planned(manifest: Manifest, ref: str, info: DatasetInfo) -> Prepared | None:
    """The prepared dataset of a reference, None if there is none. Raises ManifestError if it is damaged or another one."""
    place = folder_of(manifest, ref)
    try:
        prepared = open_prepared(place) if isinstance(place, Path) else _open_remote(place)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ManifestError([" ".join(str(error).split())]) from None
    if (prepared.name, prepared.revision) != (info.name, info.revision):
        raise ManifestError(
            [
                f"{place}: holds revision {prepared.revision!r} of dataset {prepared.name!r}, expected revision "
                f"{info.revision!r} of {info.name!r}; prepare that one in its place, or name the other one in the manifest"
            ]
        )
    return prepared


@lru_cache(maxsize=256)
def _open_remote(url: str) -> Prepared:
    """Planning looks at a dataset more than once, and reads it over the network once."""
    return open_prepared(url)


_POOL = "; of a dataset that is one pool, `protocol: domainbed` holds images out"


def lacking(benchmark: Benchmark, prepared: Prepared) -> list[str]:
    """A line for each thing that a benchmark needs and its dataset has not: a domain, or a split of one."""
    if domains := [domain for domain in benchmark.targets if domain not in prepared.domains]:
        return [
            f"{prepared.root}: was prepared without {', '.join(domains)} of dataset {benchmark.info.name!r}, "
            f"it has {', '.join(prepared.domains)}; remove the folder and prepare the dataset again"
            f"{domains_option(benchmark).replace(' ', ' with ', 1)}"
        ]
    # Of datasets that state their counts the manifest was told before.
    trained = {domain for sources in benchmark.sources for domain in sources}
    needed = [(domain, "train") for domain in prepared.domains if domain in trained]
    needed += [(domain, "test") for domain in benchmark.targets]
    return [
        f"{prepared.root}: domain {domain!r} has no {split} images, which benchmark {benchmark.name!r} needs"
        + (_POOL if split == "test" else "")
        for domain, split in needed
        if not benchmark.pooled and not sum(prepared.counts.get(domain, {}).get(split, []))
    ]


def domains_option(benchmark: Benchmark) -> str:
    """` --domains A,B` for `prepare` if a target is an optional domain, which it leaves out otherwise; else ''."""
    info = benchmark.info
    if not set(info.optional_domains) & set(benchmark.targets):
        return ""
    return " --domains " + ",".join(d for d in info.domains if d in info.default_domains or d in benchmark.targets)
