"""What a trial ran on: versions, commit, device, memory. Recorded, never part of its identity."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from orchestrator.records import Environment
from training.runtime import Runtime

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "torchvision", "open_clip_torch", "ray", "numpy", "pillow", "webdataset", "pyarrow", "safetensors")


def describe_environment(runtime: Runtime) -> Environment:
    """The environment of this process."""
    commit, dirty = git_state(ROOT)
    device = torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else runtime.device.type
    return Environment(
        python=platform.python_version(),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        git_commit=commit,
        git_dirty=dirty,
        device=device,
        num_workers=runtime.world_size,
        num_threads=runtime.threads,
        platform=platform.platform(),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=4)
def git_state(root: Path) -> tuple[str | None, bool | None]:
    """(commit, has uncommitted changes) of a checkout; (None, None) where there is no git, as in an uploaded copy."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()  # noqa: S603 - our own


def reset_peak_memory(device: torch.device) -> None:
    """Start a new peak where the device can: a CPU process has one for its whole life."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: torch.device) -> int:
    """GPU: most memory allocated since the reset. CPU: largest resident size of this process so far."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
