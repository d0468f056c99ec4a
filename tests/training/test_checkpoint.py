"""Files that are whole or absent, and state that comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.checkpoint import load_tensors, pack_attributes, save_tensors, unpack_attributes


def test_tensors_and_values_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 2).T, "b": torch.tensor(3), "c": torch.zeros(0)}
    save_tensors(tmp_path / "x.safetensors", tensors, {"step": 4, "trace": [[1, 0.5]]})
    loaded, meta = load_tensors(tmp_path / "x.safetensors")
    assert all(torch.equal(tensors[name], loaded[name]) for name in tensors)
    assert meta == {"step": 4, "trace": [[1, 0.5]]}
    assert list(tmp_path.iterdir()) == [tmp_path / "x.safetensors"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.ones(1)})

    def full(*args: object, **kwargs: object) -> None:
        Path(args[1]).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_tensors(path, {"a": torch.zeros(1)})
    assert torch.equal(load_tensors(path)[0]["a"], torch.ones(1))
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"x\.safetensors is not a readable safetensors file"):
        load_tensors(path)


class Owner:
    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.shadow = {"w": torch.full((2,), float(seed))}
        self.module = torch.nn.Linear(2, 2)
        self.anchor = torch.full((3,), float(seed))
        self.count, self.history = seed, {"losses": [seed]}


def test_every_kind_of_state_comes_back() -> None:
    names = ("generator", "shadow", "module", "anchor", "count", "history")
    one, two = Owner(1), Owner(2)
    tensors, plain = pack_attributes(one, names)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(1))
    unpack_attributes(two, names, tensors, plain)
    assert torch.equal(torch.rand(3, generator=two.generator), expected)
    assert torch.equal(two.shadow["w"], one.shadow["w"])
    assert torch.equal(two.module.weight, one.module.weight)
    assert torch.equal(two.anchor, one.anchor)
    assert (two.count, two.history) == (1, {"losses": [1]})


def test_what_a_checkpoint_cannot_hold_is_refused() -> None:
    owner = Owner(1)
    owner.count = object()  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"Owner\.count is object, which a checkpoint cannot hold"):
        pack_attributes(owner, ("count",))
