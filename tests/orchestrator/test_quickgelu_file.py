"""A file of weights that were trained with QuickGELU is refused for an architecture without that activation."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.manifest import models
from orchestrator.manifest.models import _is_quickgelu_file
from tests.orchestrator.manifest_fixtures import changed, folder, problems

__all__ = ["folder"]
B16 = "sha256:5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"


@pytest.mark.parametrize(
    ("name", "weights", "refused"),
    [
        ("ViT-B-16", B16, True),
        ("ViT-B-16-quickgelu", B16, False),
        ("ViT-B-32", "sha256:46683a32" + "0" * 56, True),  # of OpenCLIP's the address holds the first 8 digits
        ("ViT-B-16", "sha256:" + "0" * 64, False),
        ("ViT-B-16", "random:0", False),
    ],
)
def test_openais_file_needs_quickgelu(name: str, weights: str, refused: bool) -> None:
    assert _is_quickgelu_file(name, weights) == refused


def test_a_manifest_that_pairs_them_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "file_identity", lambda path: B16)
    text = changed(
        "{name: vit, config: vit.json, pretrained: vit.safetensors}", "{name: ViT-B-16, pretrained: vit.safetensors}"
    )
    assert problems(text) == [
        f"benchmarks.yaml:2: models.vit.name: {folder}/vit.safetensors holds published weights trained with QuickGELU, which "
        "'ViT-B-16' does not have: use 'ViT-B-16-quickgelu'"
    ]
