"""Durable files of a trial: safetensors for tensors, JSON for the rest, no pickle; replaced whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.types import StateDict

_META = "json"


def save_tensors(path: Path, tensors: StateDict, meta: Mapping[str, Any] | None = None) -> None:
    """Write tensors and JSON values into one safetensors file, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # safetensors makes its files readable by their owner only
        save_file(plain, temporary, metadata={_META: json.dumps(meta or {})})
        temporary.chmod(mode)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and JSON values of a file. Raises FileNotFoundError, or ValueError if it is damaged."""
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            return tensors, json.loads((file.metadata() or {}).get(_META, "{}"))
    except Exception as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


@dataclass
class TrainState:
    """Everything that an interrupted trial needs to go on as if nothing had happened."""

    step: int
    tensors: dict[str, Tensor]
    """model/..., optimizer/..., method/..., rng/..."""
    meta: dict[str, Any]
    """phase, best metrics, trace, method JSON values"""


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as flat tensors `<parameter index>.<name>`; hyper-parameters come from the recipe."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value) for index, entry in state.items() for name, value in entry.items()
    }


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: StateDict) -> None:
    """Put back what `pack_optimizer` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def pack_attributes(owner: object, names: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A method's `resumable` attributes as tensors and JSON values.

    Raises TypeError for an attribute that is neither a tensor, a dict of tensors, a module, a generator nor JSON.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for name in names:
        value = getattr(owner, name)
        if isinstance(value, Tensor):
            tensors[name] = value
        elif isinstance(value, torch.Generator):
            tensors[name] = value.get_state()
        elif isinstance(value, nn.Module):
            tensors |= {f"{name}.{key}": tensor for key, tensor in value.state_dict().items()}
        elif isinstance(value, dict) and value and all(isinstance(tensor, Tensor) for tensor in value.values()):
            tensors |= {f"{name}.{key}": tensor for key, tensor in value.items()}
        else:
            try:
                json.dumps(value)
            except TypeError:
                raise TypeError(
                    f"{type(owner).__name__}.{name} is {type(value).__name__}, which a checkpoint cannot hold"
                ) from None
            plain[name] = value
    return tensors, plain


def unpack_attributes(owner: object, names: tuple[str, ...], tensors: StateDict, plain: Mapping[str, Any]) -> None:
    """Put back what `pack_attributes` gave, into attributes that `setup` has made, on their devices."""
    for name in names:
        value = getattr(owner, name)
        if isinstance(value, torch.Generator):
            value.set_state(tensors[name])
        elif isinstance(value, Tensor):
            value.data.copy_(tensors[name])
        elif isinstance(value, nn.Module):
            value.load_state_dict({key: tensors[f"{name}.{key}"] for key in value.state_dict()})
        elif isinstance(value, dict) and name not in plain:
            for key, tensor in value.items():
                tensor.data.copy_(tensors[f"{name}.{key}"])
        else:
            setattr(owner, name, plain[name])


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """States of the global generators, which dropout and the like draw from: 'cpu', and 'cuda' on a GPU."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_rng_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Put the global generators back to what `rng_state` found."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
