"""Who may import whom, asked of a fresh interpreter."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

RAY_FREE = (
    "training.fit training.evaluate methods datasets.stream datasets.shards datasets.demo orchestrator.trials.trial"
)
TORCH_FREE = "orchestrator.spec orchestrator.records orchestrator.analysis.aggregate orchestrator.report"


def loaded_after(imports: str, *wanted: str) -> list[str]:
    script = (
        "import importlib, sys, methods\n" if "methods" in imports.split() else "import importlib, sys\n"
    ) + f"for name in {imports.split()!r}: importlib.import_module(name)\n"
    if "methods" in imports.split():
        script += "for name in methods.available(): methods.load(name)\n"
    script += f"print([name for name in {wanted!r} if name in sys.modules])"
    command = [sys.executable, "-c", script]
    return eval(subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True, timeout=120).stdout)


def test_training_methods_and_datasets_load_no_ray() -> None:
    assert loaded_after(RAY_FREE, "ray", "torch") == ["torch"]


def test_records_aggregation_and_report_load_neither_ray_nor_torch() -> None:
    watching = (
        "orchestrator.live.rebuild orchestrator.live.serve orchestrator.tracking.trackers "
        "orchestrator.tracking.process orchestrator.commands.live"
    )
    assert loaded_after(watching, "ray", "torch", "tensorboardX", "pydantic") == ["pydantic"]
    assert loaded_after(TORCH_FREE, "ray", "torch", "pydantic") == ["pydantic"]


def test_a_report_does_not_load_scipys_statistics() -> None:
    """Which takes as long as a small page."""
    assert loaded_after(TORCH_FREE, "scipy.stats", "scipy.special") == ["scipy.special"]


@pytest.mark.parametrize("folder", ["training", "methods", "datasets"])
def test_no_file_there_names_ray(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert not re.search(r"^\s*(import|from) ray\b", path.read_text(), re.MULTILINE), path


def test_datasets_is_ours() -> None:
    import datasets

    assert datasets.__file__ == str(ROOT / "datasets/__init__.py")
