"""Durable files of a trial: safetensors for tensors, JSON for the rest, no pickle; replaced whole or not at all."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.runtime import Runtime
from training.types import StateDict

log = logging.getLogger(__name__)

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
    except (SafetensorError, ValueError) as error:  # not what says nothing about the file, as exhausted memory
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def continued(path: Path, code: str, runtime: Runtime) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and JSON values of the checkpoint at `path`; None where there is none that all workers can continue.

    One that is damaged, or that other `code` has left, is thrown away, with a line in the log.
    """
    found, why_not = _readable(path, code)
    everywhere = runtime.all_true(torch.tensor(found is not None, device=runtime.device))
    if everywhere:
        return found
    if why_not or found:
        log.warning("%s; starting anew", why_not or f"another worker cannot continue {path}")
    if runtime.is_main:
        path.unlink(missing_ok=True)
    return None


def _readable(path: Path, code: str) -> tuple[tuple[dict[str, Tensor], dict[str, Any]] | None, str]:
    """What `continued` gives, or None and why it cannot be continued; '' where there is no file."""
    try:
        tensors, meta = load_tensors(path)
    except FileNotFoundError:
        return None, ""
    except ValueError as error:
        return None, f"the checkpoint is damaged ({' '.join(str(error).split())})"
    if meta.get("code", "") != code:
        return None, f"the checkpoint of step {meta['step']} was left by other code of this method or of its training"
    return (tensors, meta), ""


def prefixed(prefix: str, tensors: StateDict) -> dict[str, Tensor]:
    """The tensors, each name with the prefix."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: StateDict) -> dict[str, Tensor]:
    """Those whose names have the prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


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
    """A method's `resumable` attributes as tensors, and as JSON what each one is: attribute -> its `kind` and what it holds.

    Raises TypeError for an attribute that is neither a tensor, a dict of tensors by text or whole number, a module, a
    generator nor JSON, and AttributeError for one that does not exist.
    """
    tensors: dict[str, Tensor] = {}
    held: dict[str, Any] = {}
    for name in names:
        if not hasattr(owner, name):
            raise AttributeError(f"{type(owner).__name__} has no {name!r}, which `resumable` names; make it in `setup`")
        value = getattr(owner, name)
        held[name] = {"kind": _kind(value)}
        match held[name]["kind"]:
            case "tensor":
                tensors[name] = value
            case "generator":
                tensors[name] = value.get_state()
            case "module":
                tensors |= {f"{name}.{key}": tensor for key, tensor in value.state_dict().items()}
            case "tensors":
                held[name]["keys"] = list(value)  # JSON keeps whole numbers apart from text, names of tensors do not
                tensors |= {f"{name}.{key}": tensor for key, tensor in value.items()}
            case _:
                held[name]["value"] = _as_json(owner, name)
    return tensors, held


def unpack_attributes(
    owner: object, names: tuple[str, ...], tensors: StateDict, held: Mapping[str, Any], device: torch.device
) -> None:
    """Put back what `pack_attributes` gave: into what `setup` has made where that is alike, on its device; else made anew.

    So a dict that is filled step by step comes back whole, its tensors on `device`. Modules and generators cannot be made
    anew: raises ValueError for one that `setup` has not made.
    """
    for name in names:
        value, saved = getattr(owner, name, None), held[name]
        match saved["kind"]:
            case "tensor":
                setattr(owner, name, _restored(value, tensors[name], device))
            case "tensors":
                setattr(owner, name, _restored_dict(value, name, saved["keys"], tensors, device))
            case "generator" | "module" as kind:
                if _kind(value) != kind:
                    raise ValueError(
                        f"{type(owner).__name__}.{name} is a {kind} in the checkpoint but {type(value).__name__} after "
                        "`setup`; make it in `setup`"
                    )
                if isinstance(value, torch.Generator):
                    value.set_state(tensors[name])
                elif isinstance(value, nn.Module):
                    value.load_state_dict(below(f"{name}.", tensors))
            case _:
                setattr(owner, name, saved["value"])


def _kind(value: object) -> str:
    """What `pack_attributes` takes a value for; 'json' for all that is nothing else."""
    kinds = {"tensor": Tensor, "generator": torch.Generator, "module": nn.Module}
    for kind, class_ in kinds.items():
        if isinstance(value, class_):
            return kind
    if isinstance(value, dict) and all(isinstance(tensor, Tensor) for tensor in value.values()):
        return "tensors" if all(type(key) in (str, int) for key in value) else "json"
    return "json"


def _as_json(owner: object, name: str) -> Any:
    value = getattr(owner, name)
    try:
        json.dumps(value)
    except TypeError:
        raise TypeError(
            f"{type(owner).__name__}.{name} is {type(value).__name__}, which a checkpoint cannot hold"
        ) from None
    return value


def _restored(value: object, tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` in the place of `value` if that is a tensor of its shape and type, else a new one on `device`."""
    if isinstance(value, Tensor) and (value.shape, value.dtype) == (tensor.shape, tensor.dtype):
        value.data.copy_(tensor)
        return value
    return tensor.to(value.device if isinstance(value, Tensor) else device)


def _restored_dict(
    value: object, name: str, keys: Sequence[str | int], tensors: StateDict, device: torch.device
) -> dict[str | int, Tensor]:
    """The dict that `value` is, so that what refers to it sees the same, with these keys and no others."""
    found: dict[str | int, Tensor] = value if isinstance(value, dict) else {}
    restored = {key: _restored(found.get(key), tensors[f"{name}.{key}"], device) for key in keys}
    found.clear()
    found.update(restored)
    return found


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
