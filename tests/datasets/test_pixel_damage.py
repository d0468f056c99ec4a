"""Whatever happens to a file of pixels, what comes out of it is what was decoded, or nothing."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from datasets import pixel_file
from datasets.pixel_file import PixelFile
from tests.datasets.pixel_filler import picture


class TestDamage:
    """`PixelFile`: damage is noticed, counts as missing, and is repaired by adding the image again."""

    COUNT = 20

    def filled(self, path: Path) -> PixelFile:
        file = PixelFile(path, self.COUNT, columns=True)
        for key in range(1, self.COUNT + 1):
            assert file.put(key, picture(key), lambda size: True)
        return file

    def right(self, file: PixelFile) -> list[bool | None]:
        """For each image: whether it is right; None if it is missing."""
        found = [file.get(key) for key in range(1, self.COUNT + 1)]
        return [None if f is None else np.array_equal(f, picture(k)) for k, f in enumerate(found, start=1)]

    @pytest.mark.parametrize("seed", range(4))
    def test_flipped_bytes(self, tmp_path: Path, seed: int) -> None:
        self.filled(tmp_path / "a.pixels")
        rng, size = random.Random(seed), (tmp_path / "a.pixels").stat().st_size
        with (tmp_path / "a.pixels").open("r+b") as damaged:
            for _ in range(30):
                place = rng.randrange(4096 if seed % 2 else 8192, size)
                damaged.seek(place)
                byte = damaged.read(1)[0]
                damaged.seek(place)
                damaged.write(bytes([byte ^ 255]))
        file = PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True)
        assert None in self.right(file)
        assert False not in self.right(file)
        for key in range(1, self.COUNT + 1):
            if file.get(key) is None:
                assert file.put(key, picture(key), lambda size: True)
        assert self.right(file) == [True] * self.COUNT
        assert self.right(PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True)) == [True] * self.COUNT

    @pytest.mark.parametrize("length", [0, 10, 5000, 8192, 20_000, 100_000])
    def test_a_shortened_file(self, tmp_path: Path, length: int) -> None:
        self.filled(tmp_path / "a.pixels")
        os.truncate(tmp_path / "a.pixels", length)
        file = PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True)
        assert None in self.right(file)
        assert False not in self.right(file)
        for key in range(1, self.COUNT + 1):
            assert file.put(key, picture(key), lambda size: True)
        later = PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True)
        for key in range(1, self.COUNT + 1):  # places behind the old end have got other images meanwhile
            if later.get(key) is None:
                later.put(key, picture(key), lambda size: True)
        assert self.right(later) == [True] * self.COUNT

    def test_pixels_that_never_reached_the_disk(self, tmp_path: Path) -> None:
        """After a crash of the machine: entries are there, pixels are zeros."""
        self.filled(tmp_path / "a.pixels")
        size = (tmp_path / "a.pixels").stat().st_size
        os.truncate(tmp_path / "a.pixels", 30_000)
        os.truncate(tmp_path / "a.pixels", size)
        assert set(self.right(PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True))) == {True, None}

    def test_a_file_of_another_kind_is_made_anew(self, tmp_path: Path) -> None:
        self.filled(tmp_path / "a.pixels")
        (tmp_path / "b.pixels").write_bytes(b"something else" * 10_000)
        for path, columns in (("a.pixels", False), ("b.pixels", True)):
            file = PixelFile(tmp_path / path, self.COUNT, columns=columns)
            assert self.right(file) == [None] * self.COUNT
            file.put(1, picture(1), lambda size: True)
            assert self.right(file)[:2] == [True, None]

    def test_images_added_by_others_are_seen_and_mapped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pixel_file, "REMAP_AFTER", 7)
        reader = PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True)
        assert self.right(reader) == [None] * self.COUNT
        self.filled(tmp_path / "a.pixels")
        before = len(reader._map)
        assert self.right(reader) == [True] * self.COUNT
        assert len(reader._map) > before

    @pytest.mark.parametrize("byte", range(32))
    def test_an_entry_that_is_half_written(self, tmp_path: Path, byte: int) -> None:
        """Each byte of an entry matters: changed, the image is missing, and never one of another shape or place."""
        path, found = tmp_path / "a.pixels", PixelFile(tmp_path / "a.pixels", 2, columns=True)
        picture_twice = np.concatenate([picture(1), picture(1)])  # equal bytes at another place and in another shape
        found.put(1, picture_twice, lambda size: True)
        table = 4096
        data = path.read_bytes()
        [at] = [i for i in range(table, 8192, 32) if any(data[i : i + 32])]
        with path.open("r+b") as file:
            file.seek(at + byte)
            file.write(bytes([data[at + byte] ^ 1]))
        damaged = PixelFile(path, 2, columns=True)
        slots = [i for i in range(16) if damaged._is_whole(i) and any(data[table + 32 * i : table + 32 * i + 32])]
        assert slots == []
        assert damaged.get(1) is None
        assert damaged.put(1, picture_twice, lambda size: True)
        again = PixelFile(path, 2, columns=True).get(1)
        assert again is not None
        assert np.array_equal(again, picture_twice)

    def test_an_entry_of_another_shape_is_not_believed(self, tmp_path: Path) -> None:
        """Height and width changed places: the pixels' own checksum still holds, only the entry's does not."""
        path, image = tmp_path / "a.pixels", picture(1)
        PixelFile(path, 2).put(1, image, lambda size: True)
        data = bytearray(path.read_bytes())
        [at] = [i for i in range(4096, 8192, 32) if any(data[i : i + 32])]
        data[at + 16 : at + 20], data[at + 20 : at + 24] = data[at + 20 : at + 24], data[at + 16 : at + 20]
        path.write_bytes(data)
        assert PixelFile(path, 2).get(1) is None

    def test_an_image_is_kept_once(self, tmp_path: Path) -> None:
        file = self.filled(tmp_path / "a.pixels")
        size = (tmp_path / "a.pixels").stat().st_size
        assert file.put(3, picture(3), lambda size: False)
        assert PixelFile(tmp_path / "a.pixels", self.COUNT, columns=True).put(4, picture(4), lambda size: False)
        assert (tmp_path / "a.pixels").stat().st_size == size
