"""What trials of one process share with torch itself: settings that one may change and the next must not see. No ray."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_Setting = tuple[Callable[[], Any], Callable[[Any], object]]

_SETTINGS: tuple[_Setting, ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, torch.set_default_device),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    *(
        (lambda kind=kind: torch.is_autocast_enabled(kind), lambda on, kind=kind: torch.set_autocast_enabled(kind, on))
        for kind in ("cpu", "cuda")
    ),
    *(
        (lambda kind=kind: torch.get_autocast_dtype(kind), lambda to, kind=kind: torch.set_autocast_dtype(kind, to))
        for kind in ("cpu", "cuda")
    ),
    *(
        (lambda of=of, name=name: getattr(of, name), lambda to, of=of, name=name: setattr(of, name, to))
        for of, name in (
            (torch.backends.mkldnn, "enabled"),
            (torch.backends.cudnn, "enabled"),
            (torch.backends.cudnn, "benchmark"),
            (torch.backends.cudnn, "deterministic"),
            (torch.backends.cudnn, "allow_tf32"),
        )
    ),
)
"""How to read and how to write each setting that decides numbers or whether a step works at all."""

_AT_START = [read() for read, _ in _SETTINGS]
"""Before any trial: this module is imported by what runs them."""


def reset_torch(threads: int) -> None:
    """Leave torch as the next trial expects it: its settings as they were before the first one, and this many threads.

    Generators are not among them: each trial seeds its own.
    """
    for (read, write), value in zip(_SETTINGS, _AT_START, strict=True):
        if read() != value:
            write(value)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
