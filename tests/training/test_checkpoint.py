"""Files that are whole or absent, and state that comes back as it was."""

from __future__ import annotations

import json
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
    tensors, held = pack_attributes(one, names)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(1))
    shared = two.shadow["w"]
    unpack_attributes(two, names, tensors, held, torch.device("cpu"))
    assert torch.equal(torch.rand(3, generator=two.generator), expected)
    assert torch.equal(two.shadow["w"], one.shadow["w"])
    assert two.shadow["w"] is shared  # what else refers to it sees the same
    assert torch.equal(two.module.weight, one.module.weight)
    assert torch.equal(two.anchor, one.anchor)
    assert (two.count, two.history) == (1, {"losses": [1]})


def test_what_a_checkpoint_cannot_hold_is_refused() -> None:
    owner = Owner(1)
    owner.count = object()  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"Owner\.count is object, which a checkpoint cannot hold"):
        pack_attributes(owner, ("count",))


CPU = torch.device("cpu")


class Later:
    """After `setup`: what steps fill or make is not there yet."""

    def __init__(self) -> None:
        self.momentum: dict[str | int, torch.Tensor] = {}
        self.mean: torch.Tensor | None = None
        self.grown = torch.zeros(1)


def test_what_steps_have_filled_or_made_comes_back() -> None:
    names = ("momentum", "mean", "grown")
    one, two = Later(), Later()
    one.momentum = {"w": torch.ones(2), 3: torch.full((2,), 3.0)}
    one.mean, one.grown = torch.tensor([1.0, 2.0]), torch.arange(3.0)
    tensors, held = pack_attributes(one, names)
    empty = two.momentum
    unpack_attributes(two, names, tensors, json.loads(json.dumps(held)), CPU)
    assert two.momentum is empty
    assert list(two.momentum) == ["w", 3]
    assert all(torch.equal(two.momentum[key], value) for key, value in one.momentum.items())
    assert torch.equal(two.mean, one.mean)
    assert torch.equal(two.grown, one.grown)


def test_what_steps_have_emptied_is_empty_again() -> None:
    one, two = Later(), Later()
    two.momentum = {"w": torch.ones(2)}
    tensors, held = pack_attributes(one, ("momentum",))
    unpack_attributes(two, ("momentum",), tensors, held, CPU)
    assert two.momentum == {}


@pytest.mark.parametrize("name", ["generator", "module"])
def test_what_cannot_be_made_anew_is_to_be_made_in_setup(name: str) -> None:
    tensors, held = pack_attributes(Owner(1), (name,))
    two = Owner(2)
    setattr(two, name, None)
    with pytest.raises(ValueError, match=rf"Owner\.{name} is a {name} in the .* but NoneType .*; make it in `setup`"):
        unpack_attributes(two, (name,), tensors, held, CPU)


def test_an_attribute_that_does_not_exist_is_named() -> None:
    with pytest.raises(AttributeError, match="Owner has no 'missing', which `resumable` names; make it in `setup`"):
        pack_attributes(Owner(1), ("missing",))


def test_a_read_that_fails_for_want_of_memory_says_nothing_about_the_file(tmp_path: Path, monkeypatch) -> None:
    save_tensors(tmp_path / "x.safetensors", {"a": torch.ones(1)})

    def full(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr("training.checkpoint.safe_open", full)
    with pytest.raises(MemoryError):
        load_tensors(tmp_path / "x.safetensors")
