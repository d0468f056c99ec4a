"""What many tests need: a tiny dataset on disk, and a tiny CLIP with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from datasets import node_cache
from datasets.shards import Prepared, write_prepared
from orchestrator.conformance.tiny import Blobs, load_tiny_clip, write_config
from training.model import PretrainedClip

ROOT = Path(__file__).resolve().parents[1]

torch.set_num_threads(1)  # tiny tensors gain nothing from more, and lose much where cores are shared


@pytest.fixture(scope="session", autouse=True)
def _own_node_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's cache is none of the tests' business."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(node_cache.VARIABLE, str(tmp_path_factory.mktemp("node")))
        yield


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The dataset Blobs, prepared as any other: `<tmp>/data/blobs`."""
    return write_prepared(Blobs(), tmp_path_factory.mktemp("data") / "blobs", source=None)


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model config file of a tiny CLIP; the architecture is called as the file's stem."""
    return write_config(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tiny_clip(tiny_config: Path) -> PretrainedClip:
    """A tiny CLIP with random weights."""
    return load_tiny_clip(tiny_config)
