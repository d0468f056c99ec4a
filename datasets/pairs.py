"""Pools of image-text pairs: a prepared dataset whose images have captions, or a folder of tars with images and `.txt`."""

from __future__ import annotations

from pathlib import Path

from datasets.shards import FILE_NAME, open_prepared


def pool_tars(folder: Path) -> list[Path]:
    """The tars that hold a pool's pairs, in order: a prepared dataset's train shards, else every tar below the folder.

    Raises FileNotFoundError if there is no such folder, ValueError if there is no tar in it, or for a URL.
    """
    if ":/" in str(folder):  # a Path makes one slash of two
        raise ValueError(f"a pool of image-text pairs must be a folder of this machine, got the URL {folder}")
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder}; a pool is a prepared dataset or a folder of tars of image-text pairs"
        )
    if (folder / FILE_NAME).is_file():
        prepared = open_prepared(folder)
        return [prepared.path(shard) for shard in prepared.shards if shard.split == "train"]
    if tars := sorted(path for path in folder.rglob("*.tar") if path.is_file()):
        return tars
    raise ValueError(f"{folder} holds no .tar; a pool is a prepared dataset or a folder of tars of image-text pairs")
