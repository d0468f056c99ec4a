"""The examples of the documentation run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import methods
from datasets.shards import Prepared
from tests.bench import Bench
from tests.conftest import ROOT
from training.model import PretrainedClip


def example(document: str, name: str) -> str:
    """The Python block of a document that defines the class `name`."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)
    (found,) = [block for block in blocks if f"class {name}(" in block]
    return found


@pytest.mark.parametrize(
    ("document", "name", "settings", "moves"),
    [("README.md", "HeadOnly", {}, {"head"}), ("docs/add-a-method.md", "L2SP", {"strength": 0.5}, {"head", "visual"})],
)
def test_the_methods_of_the_documentation_train(
    document: str,
    name: str,
    settings: dict,
    moves: set,
    tiny_clip: PretrainedClip,
    blobs: Prepared,
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.py").write_text(example(document, name))
    found = methods.load("mine", [tmp_path])
    bench = Bench(tiny_clip, blobs)
    start = bench.model().state_dict()
    fit = bench.fit(found(found.Config.model_validate(settings)), tmp_path / "run")
    weights = fit.run().weights
    assert {key.split(".")[0] for key in weights if not torch.equal(weights[key], start[key])} == moves


def test_every_local_link_of_the_documentation_leads_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert target.startswith("http") or (document.parent / target).exists(), f"{document.name}: {target}"
