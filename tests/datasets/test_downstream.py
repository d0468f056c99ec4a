"""The ten downstream datasets, from miniatures of their archives to the page: models trained on the demo are measured on them
all, with heads rebuilt from the names of their classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import datasets.demo
from orchestrator.records import TrialRecord
from tests.datasets.downstream_miniatures import NAMES, PUBLISHED, without_checksums
from tests.datasets.miniature import RECIPE, Ran, images, labels, run_miniature
from training.checkpoint import load_tensors

DEMO = {"train": 20, "test": 10}
METHODS = ("zero_shot", "ft", "flyp")


@pytest.fixture(scope="module")
def counts() -> dict[str, dict[str, int]]:
    """Filled by `ran`: images of each miniature by split."""
    return {}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, tiny_config: Path, counts: dict[str, dict[str, int]]) -> Ran:
    folder = tmp_path_factory.mktemp("downstream")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUST_FT_BENCH_CACHE", str(folder / "cache"))
        patch.setattr(datasets.demo, "COUNTS", DEMO)
        without_checksums(patch)
        counts |= {name: PUBLISHED[name](folder / "published" / name) for name in NAMES}
        benchmark = {
            "methods": {method: {} for method in METHODS},
            "recipe": RECIPE | {"num_steps": 3, "eval_every": 3},
        }
        return run_miniature(
            "demo",
            None,
            {"real": DEMO, "sketch": DEMO},
            folder,
            tiny_config,
            patch,
            sources=["real"],
            transfer={name: (folder / "published" / name, {name: counts[name]}) for name in NAMES},
            benchmark=benchmark,
        )


def record(ran: Ran, method: str) -> TrialRecord:
    (found,) = [record for record in ran.records if record.spec.method == method]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_published_archives_are_prepared_whole(ran: Ran, counts: dict[str, dict[str, int]], name: str) -> None:
    prepared = ran.transfer[name]
    train, test = (labels(prepared, name, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (counts[name]["train"], counts[name]["test"]) and not set(train) & set(test)
    assert all(image.convert("RGB").size == (24, 20) for image in images(prepared, name, "test").values())


@pytest.mark.parametrize("name", NAMES)
def test_every_trained_model_is_measured_on_its_test_images(
    ran: Ran, counts: dict[str, dict[str, int]], name: str
) -> None:
    measured = [row for row in ran.rows if row["domain"] == name]
    assert {row["split"] for row in measured} == {"test"} and len(measured) == len(METHODS)
    assert {int(row["num_images"]) for row in measured} == {counts[name]["test"]}
    for method in METHODS:
        (evaluation,) = [e for e in record(ran, method).evaluations if e.domain == name]
        correct = evaluation.accuracy * counts[name]["test"]
        assert evaluation.nll > 0 and correct == pytest.approx(round(correct)), "a share of the miniature's images"


def test_training_moves_what_is_measured_and_each_head_is_of_the_text_tower_that_belongs_to_it(ran: Ran) -> None:
    nll = {m: {e.domain: e.nll for e in record(ran, m).evaluations if e.domain in NAMES} for m in METHODS}
    assert all(set(found) == set(NAMES) for found in nll.values())
    for name in NAMES:
        assert len({nll[method][name] for method in METHODS}) == len(METHODS), f"all alike on {name}"
    tuned, _ = load_tensors(ran.results.trial(record(ran, "flyp").id) / "text.safetensors")
    assert all(torch.isfinite(tensor.float()).all() for tensor in tuned.values())
    assert not (ran.results.trial(record(ran, "ft").id) / "text.safetensors").exists()
    assert all(record(ran, method).no_transfer == {} for method in METHODS)


def test_page_and_leaderboard_have_a_column_for_each(ran: Ran) -> None:
    header = next(
        line for line in (ran.results.root / "leaderboard.md").read_text().splitlines() if line.startswith("| method")
    )
    cells = [cell.strip() for cell in header.split("|")]
    first = cells.index(NAMES[0])
    assert cells[first : first + 11] == [*NAMES, "transfer mean"]
    assert "accuracy on datasets not trained on, %" in ran.page
    for prepared in ran.transfer.values():
        assert prepared.attestation.rpartition("sha256:")[2] in ran.page, f"the page attests {prepared.name}"
