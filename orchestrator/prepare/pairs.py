"""A pool of image-text pairs as a trial uses it: zero-shot features, kept for later trials, and training batches. No ray.

The features lie in the results' folder `cache`, named by a hash of the pool's content, the model and the preprocessing.
They may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from datasets.pairs import pool_tars
from datasets.shards import FILE_NAME
from datasets.stream import EvalStream, Sample, TrainStream
from datasets.tar_index import index_pairs, index_shard
from datasets.transforms import EvalTransform, TrainTransform
from training.config import Preprocessing, Recipe
from training.contrastive import text_tokens
from training.evaluate import Normalise, autocast
from training.model import PretrainedClip
from training.retrieval import kept
from training.runtime import Runtime
from training.types import Batch

FORMAT = 1
"""Part of the cache's names: raise it when the features' meaning changes."""
BATCH_SIZE = 256
ENDLESS = 2**62


def open_pool(folder: Path) -> list[Sample]:
    """The pairs of a pool in the order of its tars. Raises FileNotFoundError, or ValueError naming what is wrong.

    Of a prepared dataset they are the training images that have a caption; a folder's tars must hold nothing but pairs.
    """
    prepared = (folder / FILE_NAME).is_file()
    found = []
    for path in pool_tars(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        entries = [e for e in index_shard(path) if e.caption] if prepared else index_pairs(path)
        found += [Sample(f"{name}/{e.key}", e.label, path, e.offset, e.size, e.caption) for e in entries]
    if not found:
        raise ValueError(f"the pool {folder} has no image with a text; a prepared dataset needs captions")
    return found


@dataclass(frozen=True, kw_only=True)
class PairPool:
    """`training.types.Pairs` over an opened pool."""

    samples: Sequence[Sample]
    identity: str
    clip: PretrainedClip
    """never modified; its text tower lies on the runtime's device"""
    model: str
    """identity of the model, of any form"""
    recipe: Recipe
    """its crops and flips are the pairs' too"""
    preprocessing: Preprocessing
    seed: int
    runtime: Runtime
    cache: Path | None = None
    """folder; None: features are computed anew"""

    def __len__(self) -> int:
        """Pairs in the pool."""
        return len(self.samples)

    def features(self, side: Literal["image", "text"]) -> Tensor:
        """L2-normalised zero-shot features (N, D) of all images or texts, on the CPU, whole on every worker."""
        content = [FORMAT, side, self.identity, self.model, self.preprocessing if side == "image" else None]
        name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
        path = self.cache / f"pool-{side}-{name}.safetensors" if self.cache else None
        found = kept(path, self.runtime, self._images if side == "image" else self._texts)
        if len(found) != len(self.samples):
            raise ValueError(f"{path} has {len(found)} rows for {len(self.samples)} pairs; delete it")
        return found

    def batches(self, chosen: Sequence[int], global_batch_size: int, start: int) -> Iterator[Batch]:
        """This worker's parts of the batches of the pairs `chosen`, from batch `start`, without end."""
        stream = TrainStream(
            samples=[self.samples[place] for place in chosen],
            transform=TrainTransform(self.clip.image_size, self.recipe.crop_scale, self.recipe.flip),
            seed=self.seed,
            global_batch_size=global_batch_size,
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
            threads=self.runtime.threads,
        )
        return map(self._normalise, stream.batches(start, ENDLESS))

    @property
    def _normalise(self) -> Normalise:
        return Normalise(self.clip.mean, self.clip.std, self.runtime.device)

    def _images(self) -> Iterator[Tensor]:
        """This worker's part, (B, D) at a time."""
        model = self.clip.classifier(torch.empty(1, 1), self.runtime.device)
        stream = EvalStream(
            samples=self.samples,
            transform=EvalTransform(self.preprocessing, self.clip.image_size),
            batch_size=BATCH_SIZE,
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
            threads=self.runtime.threads,
        )
        for batch in map(self._normalise, stream):
            with torch.no_grad(), autocast(self.runtime.device):
                yield model.encode_image(batch.images)

    def _texts(self) -> Iterator[Tensor]:
        """This worker's part, (B, D) at a time."""
        mine = self.samples[self.runtime.part(len(self.samples))]
        for place in range(0, len(mine), BATCH_SIZE):
            texts = [sample.caption for sample in mine[place : place + BATCH_SIZE]]
            yield self.clip.text.encode(text_tokens(self.clip.text, texts))
