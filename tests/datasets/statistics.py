"""The numbers of every dataset and revision, for comparison with the committed `statistics.json`.

`python -m tests.datasets.statistics` prints what the registry says now: a difference to the file is a mistake, or a fact that
has to be looked up again before it is committed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
from datasets.base import DatasetInfo

COMMITTED = Path(__file__).with_name("statistics.json")


def references() -> list[str]:
    """`name@revision` of everything there is."""
    return [f"{name}@{revision}" for name in datasets.available() for revision in datasets.revisions(name)]


def statistics(info: DatasetInfo) -> dict[str, Any]:
    """Numbers of a dataset; of long lists, a hash."""
    repeated = sorted(name for name, times in Counter(info.classnames).items() if times > 1)
    found: dict[str, Any] = {
        "classes": len(info.classnames),
        "classnames": _digest(info.classnames),
        "templates": len(info.templates),
        "images": sum(sum(splits.values()) for splits in info.counts.values()),
        "counts": {domain: dict(info.counts.get(domain, {})) for domain in info.domains},
    }
    optional = {
        "repeated_names": repeated,
        "optional_domains": list(info.optional_domains),
        "class_counts": {d: {s: _digest(n) for s, n in by.items()} for d, by in info.class_counts.items()},
        "groups": {d: [len(groups), sum(map(len, groups))] for d, groups in info.groups.items()},
        "seen_unseen": list(info.seen_unseen or ()),
    }
    return found | {key: value for key, value in optional.items() if value}


def text() -> str:
    """What the registry says now, as in the committed file."""
    lines = [f" {json.dumps(ref)}: {json.dumps(statistics(datasets.load(ref).info))}" for ref in references()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.stdout.write(text())
