"""Published weights: from the cache without a network, and a clear, quick error where neither cache nor hub has them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
import pytest
import torch

from training import hub
from training.checkpoint import save_tensors
from training.hub import HubError, cached_weights, fetch_weights, is_tag
from training.model import ModelError, load_clip

NAME, TAG, REPOSITORY = "ViT-B-16-quickgelu", "openai", "timm/vit_base_patch16_clip_224.openai"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's client; open_clip's table of weights is put back afterwards."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(hub, "URL_CACHE", tmp_path / "clip")
    monkeypatch.setattr(hub, "PATIENCE_S", 2.0)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name, tag in ((NAME, TAG), ("RN50-quickgelu", "cc12m")):
        config = open_clip.get_pretrained_cfg(name, tag)
        monkeypatch.setitem(config, "file", None)
        del config["file"]
    return folder


class Session:
    """Stands for the network."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.asked = error, 0

    def head(self, url: str, **_: Any) -> None:
        self.asked += 1
        if self.error:
            raise self.error


def connect(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> Session:
    session = Session(error)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: session)
    return session


def put(cache: Path, content: bytes, name: str = "open_clip_model.safetensors", repository: str = REPOSITORY) -> Path:
    """A file in the cache as the hub's client lays it out."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs/main").write_text("0123456789abcdef")
    file = folder / "snapshots/0123456789abcdef" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_without_a_hub_the_error_comes_quickly_and_says_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = connect(monkeypatch, ConnectionError("[Errno -2] Name or service not known\nmore"))
    started = time.monotonic()
    with pytest.raises(HubError) as caught:
        fetch_weights(NAME, TAG)
    assert time.monotonic() - started < 5
    assert session.asked == 2
    assert str(caught.value) == (
        "weights 'openai' of ViT-B-16-quickgelu are not cached on this machine and the model hub https://huggingface.co "
        "cannot be reached (ConnectionError: [Errno -2] Name or service not known); give `pretrained:` the path of a "
        f"weights file (/path/file), or set HF_HOME to a folder whose cache has {REPOSITORY}"
    )
    with pytest.raises(ModelError, match=r"the model hub .* cannot be reached"):
        load_clip(NAME, TAG)


def test_this_machines_real_network_is_not_waited_for_longer_than_promised(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that never answers: packets to it are dropped, or refused at once."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://192.0.2.1")
    monkeypatch.setattr(hub, "PATIENCE_S", 0.5)
    monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda repository, name: f"http://192.0.2.1/{repository}/{name}")
    started = time.monotonic()
    with pytest.raises(HubError, match="cannot be reached"):
        fetch_weights(NAME, TAG)
    assert time.monotonic() - started < 8


def test_cached_weights_need_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = connect(monkeypatch, ConnectionError("must not be asked"))
    assert cached_weights(NAME, TAG) is None
    file = put(cache, b"weights")
    assert fetch_weights(NAME, TAG) == cached_weights(NAME, TAG) == file
    assert session.asked == 0


def test_the_safetensors_file_is_preferred_and_the_other_one_found(cache: Path) -> None:
    other = put(cache, b"old", "open_clip_pytorch_model.bin")
    assert cached_weights(NAME, TAG) == other
    assert cached_weights(NAME, TAG) != put(cache, b"new") == cached_weights(NAME, TAG)


def test_a_plain_url_is_cached_where_open_clip_puts_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = open_clip.get_pretrained_cfg("RN50-quickgelu", "cc12m")
    monkeypatch.setitem(config, "hf_hub", "")
    connect(monkeypatch, ConnectionError("no route"))
    with pytest.raises(
        HubError, match=r"rn50-quickgelu-cc12m-f000538c\.pt cannot be reached \(ConnectionError: no route"
    ):
        fetch_weights("RN50-quickgelu", "cc12m")
    hub.URL_CACHE.mkdir()
    file = hub.URL_CACHE / "rn50-quickgelu-cc12m-f000538c.pt"
    file.write_bytes(b"weights")
    assert fetch_weights("RN50-quickgelu", "cc12m") == file


def test_a_download_that_fails_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch)

    def refuse(*_: Any, **__: Any) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr(huggingface_hub, "file_exists", lambda *_: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(HubError, match=r"the download failed \(OSError: No space left on device\)"):
        fetch_weights(NAME, TAG)


def test_offline_mode_is_respected(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = connect(monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        fetch_weights(NAME, TAG)
    assert session.asked == 0


def test_tags_are_told_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_tag(NAME, "openai")
    assert not is_tag(NAME, "/nowhere/weights.safetensors")
    (tmp_path / "openai").write_bytes(b"")
    assert not is_tag(NAME, "openai")


def test_a_cached_model_loads_without_a_network_and_with_the_preprocessing_of_its_tag(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tiny_config: Path, tmp_path: Path
) -> None:
    session = connect(monkeypatch, ConnectionError("must not be asked"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("the hub was asked"))
    monkeypatch.setattr(open_clip.pretrained, "hf_hub_download", lambda *_, **__: pytest.fail("the hub was asked"))
    mean = (0.1, 0.2, 0.3)
    published = {"url": "", "hf_hub": "someone/tiny/", "mean": mean, "std": mean}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny_clip", {"published": published})
    weights = load_clip("tiny_clip", "random:7", tiny_config)
    tensors = {f"visual.{key}": value for key, value in weights.visual.state_dict().items()}
    save_tensors(tmp_path / "file", tensors | weights.text.clip.state_dict())
    put(cache, (tmp_path / "file").read_bytes(), repository="someone/tiny")
    loaded = load_clip("tiny_clip", "published", tiny_config)
    assert torch.equal(loaded.visual.proj, weights.visual.proj)
    assert loaded.mean == mean
    assert session.asked == 0


def test_what_will_be_downloaded_is_told_with_its_size_and_without_a_network(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = connect(monkeypatch, ConnectionError("must not be asked"))
    assert hub.download_note(NAME, TAG) == (
        "weights 'openai' of ViT-B-16-quickgelu are not cached on this machine: `run` will download them (about 598 MB); "
        "without a network give `pretrained:` the path of a weights file (/path/file), or set HF_HOME to a folder whose "
        f"cache has {REPOSITORY}"
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert hub.download_note(NAME, TAG).startswith(
        "weights 'openai' of ViT-B-16-quickgelu are not cached on this machine and `run` will not get them, the model hub "
        "must not be asked (HF_HUB_OFFLINE is set); give `pretrained:`"
    )
    put(cache, b"weights")
    assert hub.download_note(NAME, TAG) is None
    assert session.asked == 0


def test_the_size_of_architectures_that_need_other_libraries_is_not_known(cache: Path) -> None:
    assert hub.parameters("ViT-B-32") == 151_277_313  # as open_clip counts it in docs/model_profile.csv: 151.28 M
    assert hub.parameters("roberta-ViT-B-32") is None
    assert hub.parameters("ViT-B-16-SigLIP") is None
