"""What a long-lived worker keeps between trials: the last model, heads, indexes, a cache of pixels. No ray."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from datasets.pixel_cache import GIB, PixelCache
from datasets.samples import Fetched
from datasets.shards import Prepared
from datasets.stream import Sample, samples
from orchestrator.identity import file_identity
from orchestrator.prepare.pairs import open_pool
from orchestrator.spec import PlannedTrial
from training.model import PretrainedClip, TextEncoder, load_clip

log = logging.getLogger(__name__)

_State = tuple[int, ...]
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class TrialError(ValueError):
    """A trial's inputs are not what its spec says; the message says which and what to do."""


class Warm:
    """What a long-lived worker keeps between trials: the last model, its zero-shot heads, and indexes of the last dataset.

    Trials get copies of the image encoder and share the text tower. One that changes what is shared costs the next one
    loading the model again. Reading an index takes some 50 µs a sample: seconds for DomainNet.
    """

    def __init__(self) -> None:
        self._key: tuple[str, ...] | None = None
        self._clip: PretrainedClip | None = None
        self._state: _State | None = None
        self._user = ""
        """the trial that had the model last"""
        self._heads: dict[tuple[tuple[str, ...], tuple[str, ...], str], Tensor] = {}
        self._indexes: dict[tuple[str, str, str, str], list[Sample]] = {}
        self._pool: tuple[tuple[str, str], list[Sample]] | None = None
        self._pixels: PixelCache | None = None

    def samples(self, prepared: Prepared, domain: str, split: str, fetched: Fetched | None = None) -> list[Sample]:
        """As `datasets.stream.samples`."""
        key = (prepared.identity, prepared.root, domain, split)
        if any(known[:2] != key[:2] for known in self._indexes):
            self._indexes = {}
        if key not in self._indexes:
            self._indexes[key] = samples(prepared, domain, split, fetched)
        return self._indexes[key]

    def pool(self, folder: Path, identity: str) -> list[Sample]:
        """As `open_pool`; the last pool is kept."""
        key = (str(folder), identity)
        if self._pool is None or self._pool[0] != key:
            self._pool = None
            self._pool = (key, open_pool(folder))
        return self._pool[1]

    def pixels(self, gib: float) -> PixelCache | None:
        """The machine's cache of decoded pixels with this limit, at the beginning of a trial; None without one."""
        if not gib:
            self._pixels = None
        elif (
            self._pixels is None or self._pixels.limit != int(gib * GIB) or self._pixels.folder != PixelCache(0).folder
        ):
            self._pixels = PixelCache(int(gib * GIB))
        if self._pixels:
            self._pixels.begin()
        return self._pixels

    def clip(self, trial: PlannedTrial, device: torch.device) -> PretrainedClip:
        """The trial's model, its text tower on `device`; loaded, and checked against the spec, when it is not the last one.

        It is loaded again, with a warning that names the trial, when the trial that had it last has changed it.
        """
        ref, place = trial.spec.model, trial.location
        key = (ref.name, ref.weights, str(ref.architecture), str(device))
        if self._clip is not None and key == self._key and _state(self._clip) != self._state:
            log.warning(
                "trial %s has changed the pre-trained model that all trials here share; it is loaded again. A method works on "
                "copies of it (docs/add-a-method.md)",
                self._user,
            )
            self._key = None
        if self._clip is None or key != self._key:
            self._key, self._clip, self._heads = None, None, {}
            config = Path(place.model_config_file) if place.model_config_file else None
            _check_file(ref.architecture, config)
            if ref.weights.startswith("sha256:"):
                _check_file(ref.weights, Path(place.pretrained))
            self._clip, self._key = load_clip(ref.name, place.pretrained, config), key
            self._clip.text.to(device)
            self._state = _state(self._clip)
        self._user = trial.id
        return self._clip

    def head(self, classnames: tuple[str, ...], templates: tuple[str, ...], text: TextEncoder) -> Tensor:
        """The zero-shot head (D, K) of classes and templates."""
        key = (classnames, templates, str(text.device))
        if key not in self._heads:
            self._heads[key] = text.zero_shot_head(classnames, templates)
        return self._heads[key].clone()


WARM = Warm()


def _check_file(identity: str | None, path: Path | None) -> None:
    if identity and path and file_identity(path) != identity:
        raise TrialError(f"{path} has changed since the plan was made; run the same command again")


@torch.no_grad()
def _state(clip: PretrainedClip) -> _State:
    """Numbers that move when something of the model does: in place, through `.data`, by another tensor in its place.

    0.3 s of one core for the 150 million numbers of ViT-B/16.
    """
    parts = (clip.visual, clip.text)
    tensors = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]
    sums = [tensor.detach().view(_BITS[tensor.element_size()]).sum(dtype=torch.int64).cpu() for tensor in tensors]
    return (
        len(tensors),
        sum(tensor._version for tensor in tensors),
        sum(map(int, sums)),
        sum(tensor.requires_grad for tensor in tensors),
        sum(module.training for part in parts for module in part.modules()),
    )
