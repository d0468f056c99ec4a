"""Which copy of a trial is taken, and what is left of a merge that is interrupted at its end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.analysis.merge import MergeConflictError, merge
from orchestrator.bad_input import BadInputError
from orchestrator.records import Results, load_plans, write_plan
from tests.orchestrator.outcome_factory import write_results
from tests.orchestrator.record_factory import demo
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


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("confidence", lambda of: [str(value) for value in of], "its column 'confidence' holds string, not numbers"),
        ("correct", lambda of: [None, *of[1:]], "its column 'correct' has 1 empty cells"),
        ("variant", lambda of: list(range(len(of))), "its column 'variant' holds int64, not text"),
        ("key", None, "it has no column 'key'"),
    ],
)
def test_a_copy_whose_outcomes_have_other_columns_is_not_taken(
    tmp_path: Path, column: str, values: Callable[[list[object]], list[object]] | None, said: str
) -> None:
    good = write_results(tmp_path / "good", {"ft": 0.6})
    shutil.copytree(good.root, tmp_path / "bad")
    id = next(path.name for path in (good.root / "trials").iterdir() if path.name.startswith("ft-"))
    path = tmp_path / "bad" / "trials" / id / "predictions.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    of = table.column(column).to_pylist()
    table = table.set_column(place, column, pa.array(values(of))) if values else table.drop_columns([column])
    pq.write_table(table, path)
    merged = merge([tmp_path / "bad", good.root], tmp_path / "merged")
    [unusable] = merged.unusable
    assert unusable.startswith(id) and said in unusable
    taken = (tmp_path / "merged" / "trials" / id / "predictions.parquet").read_bytes()
    assert taken == (good.trial(id) / "predictions.parquet").read_bytes()


def test_names_of_classes_are_those_of_any_plan_that_has_them(tmp_path: Path) -> None:
    """The plan with most trials may be of a version that had none; the others' must agree all the same."""
    roots = []
    for name, seeds, classnames in (("a", (0, 1), ()), ("b", (2,), ("cat", "dog")), ("c", (3,), ("cat", "dog"))):
        results = Results(demo(seeds=seeds).write(tmp_path / name))
        [plan] = load_plans(results)
        write_plan(results, plan.model_copy(update={"classnames": classnames}))
        roots.append(results.root)
    merge(roots, tmp_path / "merged")
    [joined] = load_plans(Results(tmp_path / "merged"))
    assert joined.classnames == ("cat", "dog")
    write_plan(results, plan.model_copy(update={"classnames": ("cat", "frog")}))
    with pytest.raises(MergeConflictError, match=r"names of classes: '(dog|frog)' and '(dog|frog)'"):
        merge(roots, tmp_path / "again")


def test_a_target_that_is_taken_is_refused(tmp_path: Path) -> None:
    _, a, b = halves(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / ".merging").write_text("a file")
    for name in ("link", "part"):
        with pytest.raises(BadInputError, match=f"{name} exists and is not an empty folder; merge into a new one"):
            merge([a, b], tmp_path / name)
