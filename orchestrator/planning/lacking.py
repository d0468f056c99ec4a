"""What a prepared dataset lacks that a benchmark needs, and how to prepare it so that it has that."""

from __future__ import annotations

from datasets.shards import Prepared
from orchestrator.manifest.read import Benchmark


def lacking(benchmark: Benchmark, prepared: Prepared) -> list[str]:
    """A line for each thing that is not there: a domain, or a split of one; none if the benchmark can run."""
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
        for domain, split in needed
        if not benchmark.pooled and not sum(prepared.counts.get(domain, {}).get(split, []))
    ]


def domains_option(benchmark: Benchmark) -> str:
    """` --domains A,B` for `prepare` if a target is an optional domain, which it leaves out otherwise; else ''."""
    info = benchmark.info
    if not set(info.optional_domains) & set(benchmark.targets):
        return ""
    return " --domains " + ",".join(d for d in info.domains if d in info.default_domains or d in benchmark.targets)
