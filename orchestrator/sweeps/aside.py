"""Folders of completed trials that run again: kept in `aside/` until there is a new record. No ray, no torch.

Moving a folder is one rename on one disk: at no moment is there half a trial. Who calls this holds the sweep's lock.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from orchestrator.records import Results
from orchestrator.sweeps.driver import readable_record


def aside(results: Results, id: str) -> Path:
    """Where a trial's folder lies while it runs again."""
    return results.root / "aside" / id


def set_aside(results: Results, ids: Collection[str]) -> None:
    """Move the folders of these trials, as far as they are completed.

    One that is not (it failed, or its second run was interrupted) goes on where it stands, as in any `run`.
    """
    for id in ids:
        if not _completed(results, id):
            continue
        kept = aside(results, id)
        shutil.rmtree(kept, ignore_errors=True)  # of a run that was killed after its trial had been completed again
        kept.parent.mkdir(parents=True, exist_ok=True)
        results.trial(id).rename(kept)


def settle(results: Results, ids: Collection[str]) -> None:
    """After a sweep: put back the folders of `ids` that it never came to, remove those of trials that are completed again.

    The latter whichever run set them aside; what failed or was interrupted keeps its earlier folder there.
    """
    for id in ids:
        if aside(results, id).exists() and not results.trial(id).exists():
            aside(results, id).rename(results.trial(id))
    folder = results.root / "aside"
    if not folder.is_dir():
        return
    for kept in sorted(folder.iterdir()):
        if _completed(results, kept.name):
            shutil.rmtree(kept)
    if not any(folder.iterdir()):
        folder.rmdir()


def _completed(results: Results, id: str) -> bool:
    record = readable_record(results, id)
    return record is not None and record.status == "completed"
