"""Which copy of a trial is taken, and what is left of a merge that is interrupted at its end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestrator.analysis.merge import MergeConflictError, merge
from tests.orchestrator.outcome_factory import write_results
from tests.orchestrator.test_merge import changed_outcomes, halves, swapped


def test_a_copy_with_outcomes_is_taken_before_one_with_more_files(tmp_path: Path) -> None:
    """And copies whose outcomes differ are a conflict, though a third has none."""
    roots = [write_results(tmp_path / "a", {"ft": 0.6}).root, tmp_path / "b", tmp_path / "c"]
    for other in roots[1:]:
        shutil.copytree(roots[0], other)
    id = next(path.name for path in (roots[0] / "trials").iterdir() if path.name.startswith("ft-"))
    bare = roots[0] / "trials" / id
    (bare / "predictions.parquet").unlink()
    for name in ("x", "y", "z"):
        (bare / name).write_text("weights")
    for order in (roots[:2], roots[1::-1]):
        merge(order, tmp_path / "merged")
        assert (tmp_path / "merged" / "trials" / id / "predictions.parquet").exists()
        shutil.rmtree(tmp_path / "merged")
    changed_outcomes(roots[2], id, correct=swapped)
    with pytest.raises(MergeConflictError, match="other outcomes of 2 of "):
        merge(roots, tmp_path / "merged")


def test_a_merge_that_is_interrupted_at_its_end_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, a, b = halves(tmp_path)
    rename, renamed = Path.rename, list[Path]()

    def interrupted(path: Path, target: Path) -> Path:
        if path.parent.name == ".merging":
            renamed.append(path)
            if len(renamed) == 2:
                raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        merge([a, b], tmp_path / "c")
    assert len(renamed) == 2 and not (tmp_path / "c").exists()
