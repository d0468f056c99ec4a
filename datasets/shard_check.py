"""Re-reads one shard and compares it with what `dataset.json` says of it; the unit of work of `verify`."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from datasets import storage
from datasets.images import BadImageError, stored_image, strict_pil
from datasets.parallel import Tick
from datasets.shards import ShardInfo, file_sha256
from datasets.tar_index import index_shard

MAX_NAMED = 20
"""Images of one shard that are named."""


@dataclass(frozen=True, slots=True)
class ShardState:
    """What was found in a shard."""

    labels: dict[int, int]
    """class -> images"""
    keys: tuple[str, ...]
    problems: tuple[str, ...]
    is_read: bool = True
    """whether labels and keys are known"""


def _unread(*problems: str) -> ShardState:
    return ShardState({}, (), problems, is_read=False)


@dataclass(frozen=True, slots=True)
class ShardChecker:
    """Checks shards below `root`, a folder or a URL; `decode` decodes every image as training does."""

    root: str
    num_classes: int
    decode: bool

    def __call__(self, shard: ShardInfo, tick: Tick) -> ShardState:
        """Size, hash, number of samples, labels and images of one shard; its problems name it."""
        place = f"{self.root}/{shard.name}"
        if "://" not in self.root:
            return self._check(Path(self.root) / shard.name, place, shard, tick)
        # Past the node's cache, whose copy may be whole while the other is not.
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            try:
                storage.fetch(storage.join(self.root, shard.name), file, shard.bytes, shard.sha256)
            except storage.StorageError as error:
                return _unread(str(error))
            file.flush()
            return self._check(Path(file.name), place, shard, tick)

    def _check(self, path: Path, place: str, shard: ShardInfo, tick: Tick) -> ShardState:
        if not path.is_file():
            return _unread(f"{place}: missing")
        problems = []
        if (size := path.stat().st_size) != shard.bytes:
            problems.append(f"{place}: has {size} bytes, expected {shard.bytes}")
        if (found := file_sha256(path)) != shard.sha256:
            problems.append(f"{place}: sha256 is {found}, expected {shard.sha256}")
        try:
            samples = index_shard(path)
        except (ValueError, OSError) as error:
            return _unread(*problems, str(error).replace(str(path), place))
        if len(samples) != shard.count:
            problems.append(f"{place}: holds {len(samples)} samples, expected {shard.count}")
        problems += [
            f"{place}: {sample.key}: label {sample.label} is out of range, expected 0 to {self.num_classes - 1}"
            for sample in samples
            if sample.label >= self.num_classes
        ]
        if self.decode:
            problems += self._undecodable(path, place, [(s.key, s.extension, s.offset, s.size) for s in samples], tick)
        tick(len(samples))
        return ShardState(dict(Counter(s.label for s in samples)), tuple(s.key for s in samples), tuple(problems))

    def _undecodable(self, path: Path, place: str, images: list[tuple[str, str, int, int]], tick: Tick) -> list[str]:
        problems = []
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with strict_pil():
                for number, (key, extension, offset, size) in enumerate(images, start=1):
                    try:
                        stored_image(os.pread(descriptor, size, offset), extension, None)
                    except BadImageError as error:
                        problems.append(f"{place}: {key}.{extension}: {error}")
                    tick(number)
        finally:
            os.close(descriptor)
        rest = len(problems) - MAX_NAMED
        return [*problems[:MAX_NAMED], *([f"{place}: ... and {rest} more images"] if rest > 0 else [])]
