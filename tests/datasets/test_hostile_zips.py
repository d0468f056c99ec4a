"""Zip archives that lie: each is refused with one line that names archive and member."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from datasets.sources import limits, open_source
from tests.datasets.test_hostile_archives import EVIL_NAMES, cache, refusal
from tests.datasets.test_sources import in_zip

__all__ = ["cache"]

CENTRAL = b"PK\1\2"
FLAGS, METHOD, CRC, PACKED, SIZE, PLACE = 8, 10, 16, 20, 24, 42  # offsets in a header of the list of contents


def one_zip(path: Path, name: str = "a/2.jpg", **fields: object) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.jpg", b"1")
        member = zipfile.ZipInfo(name)
        for field, value in fields.items():
            setattr(member, field, value)
        archive.writestr(member, b"/etc/passwd")
    return path


@pytest.mark.parametrize(("name", "reason"), EVIL_NAMES)
def test_zip_names(tmp_path, name, reason):
    path = one_zip(tmp_path / "a.zip", name)
    assert f"{path}:{name if name.isprintable() else ascii(name)}: {reason}" in refusal(path)


def test_zip_names_with_nul(tmp_path):
    path = one_zip(tmp_path / "a.zip", "a/2.jpgXevil")
    path.write_bytes(path.read_bytes().replace(b"2.jpgXevil", b"2.jpg\0evil"))
    assert "its name has a NUL character" in refusal(path)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "is neither file nor folder"), (stat.S_IFCHR, "is neither file nor")],
)
def test_zip_members_that_are_no_files(tmp_path, mode, reason):
    path = one_zip(tmp_path / "a.zip", external_attr=(mode | 0o777) << 16)
    assert f"{path}:a/2.jpg: {reason}" in refusal(path)


def test_zip_names_that_repeat(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = one_zip(tmp_path / "a.zip", "a/1.jpg")
    assert f"{path}:a/1.jpg: its name occurs twice" in refusal(path)


def patched(path: Path, signature: bytes, offset: int, layout: str, value: int, last: bool = True) -> Path:
    """Overwrite a number of the last (or first) header with this signature."""
    data = bytearray(path.read_bytes())
    at = data.rindex(signature) if last else data.index(signature)
    struct.pack_into(layout, data, at + offset, value)
    path.write_bytes(data)
    return path


def test_encrypted_zip_members(tmp_path):
    path = patched(one_zip(tmp_path / "a.zip"), CENTRAL, FLAGS, "<H", 1)
    assert f"{path}:a/2.jpg: is encrypted; unpack the archive by hand" in refusal(path)


def test_zip_members_compressed_in_other_ways(tmp_path):
    path = in_zip(tmp_path / "a.zip", {"a/2.jpg": b"1" * 50}, method=zipfile.ZIP_BZIP2)
    assert f"{path}:a/2.jpg: is compressed by method 12, not by deflate" in refusal(path)


def test_overlapping_zip_members(tmp_path):
    path = one_zip(tmp_path / "a.zip")
    assert f"{path}:a/1.jpg: overlaps the next member" in refusal(patched(path, CENTRAL, PLACE, "<I", 0))
    path = one_zip(tmp_path / "b.zip")
    assert "b.zip:a/2.jpg: overlaps" in refusal(patched(path, CENTRAL, PACKED, "<I", 5000))


def test_a_zip_member_with_a_wrong_checksum(tmp_path):
    path = patched(in_zip(tmp_path / "a.zip", {"a/2.jpg": b"12"}), CENTRAL, CRC, "<I", 0xDEADBEEF)
    assert f"{path}:a/2.jpg: it is damaged: its CRC-32 is {zlib.crc32(b'12'):08x}, expected deadbeef" in refusal(
        path, "a/2.jpg"
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_anywhere_in_a_zip_member_is_found(tmp_path, method):
    data = bytes(range(256)) * 8
    whole = in_zip(tmp_path / "a.zip", {"2.jpg": data}, method=method).read_bytes()
    start = whole.index(b"2.jpg") + 5
    for at in range(start, whole.index(CENTRAL), 7):
        path = tmp_path / f"{at}.zip"
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        assert f"{path}:2.jpg: " in refusal(path, "2.jpg")
        path.unlink()


@pytest.mark.parametrize("declared", [10, 999_999, 1_000_001])
def test_a_zip_member_with_a_lying_size(tmp_path, declared):
    path = patched(in_zip(tmp_path / "a.zip", {"2.jpg": bytes(1_000_000)}), CENTRAL, SIZE, "<I", declared)
    message = refusal(path, "2.jpg")
    if declared < 1_000_000:
        assert f"2.jpg: refused: it decompresses to more than the {declared:,} bytes it declares" in message
    else:
        assert "2.jpg: it has 1,000,000 bytes, expected 1,000,001" in message


def test_a_zip_member_that_is_elsewhere(tmp_path):
    path = patched(one_zip(tmp_path / "a.zip"), CENTRAL, PLACE, "<I", 3, last=False)
    assert "a/1.jpg: it is not where the archive's list of contents says" in refusal(path, "a/1.jpg")


def test_zip_bombs(tmp_path, monkeypatch):
    path = in_zip(tmp_path / "a.zip", {"2.jpg": bytes(1_000_000)})
    assert len(open_source(path).read("2.jpg")) == 1_000_000, "small ones may have any ratio"
    monkeypatch.setattr(limits, "RATIO_FREE_MEMBER_BYTES", 1000)
    assert "2.jpg: refused: it declares 1,000,000 bytes, of" in refusal(path, "2.jpg")
    monkeypatch.setattr(limits, "MAX_RATIO", 2000)
    assert len(open_source(path).read("2.jpg")) == 1_000_000
    monkeypatch.setattr(limits, "MAX_MEMBER_BYTES", 999_999)
    assert "the limit is 999,999" in refusal(path, "2.jpg")
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 999_998)
    path = in_zip(tmp_path / "b.zip", {"2.jpg": bytes(1_000_000)})
    assert "b.zip: refused, its members have 1,000,000 bytes" in refusal(path)
    monkeypatch.setattr(limits, "MAX_ZIP_DIRECTORY_BYTES", 3)
    assert "a header claims 22 bytes, the limit is 3" in refusal(in_zip(tmp_path / "c.zip"))


def test_a_zip_member_with_more_compressed_bytes_than_a_file_may_have(tmp_path, monkeypatch):
    path = in_zip(tmp_path / "a.zip", {"2.jpg": b"x" * 2000}, method=zipfile.ZIP_STORED)
    monkeypatch.setattr(limits, "MAX_MEMBER_BYTES", 1500)
    patched(path, CENTRAL, SIZE, "<I", 10)
    assert "2.jpg: refused: it has 2,000 compressed bytes, the limit is 1,500" in refusal(path, "2.jpg")
