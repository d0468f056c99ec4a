"""Archives that lie: each is refused with one line that names archive and member, and nothing is written by name."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets import DatasetError
from datasets.sources import limits, open_source
from tests.datasets.test_sources import CONTENT, in_tar, in_zip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refusal(path: Path, member: str | None = None) -> str:
    """The message of opening the archive and, if that works, of reading the member."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(DatasetError) as raised:
        source = open_source(path, (), ("a", "real"))
        assert member is not None, "opening it must be refused"
        source.read(member)
    cache = path.parent / "cache"
    assert [p for p in sorted(path.parent.iterdir()) if p != cache] == [p for p in before if p != cache]
    assert not [p for p in path.parent.rglob("*") if "evil" in p.name or p.suffix == ".part"], "nothing is extracted"
    message = str(raised.value)
    assert all(line.startswith(str(path)) and line.isprintable() for line in message.splitlines()), message
    return message


EVIL_NAMES = [
    ("../evil.jpg", "its name leads outside of the archive"),
    ("a/../../evil.jpg", "its name leads outside"),
    ("a/..", "its name leads outside"),
    ("/tmp/evil.jpg", "its name leads outside"),
    ("C:evil.jpg", "its name leads outside"),
    ("c:/evil.jpg", "its name leads outside"),
    ("a\\..\\evil.jpg", "its name has a backslash"),
    ("\\\\host\\evil.jpg", "its name has a backslash"),
]


def one_tar(path: Path, packed: bool = False, **fields: object) -> Path:
    with tarfile.open(path, "w:gz" if packed else "w", format=tarfile.PAX_FORMAT) as archive:
        for name, changes in (("a/1.jpg", {}), ("a/2.jpg", fields)):
            member = tarfile.TarInfo(name)
            for field, value in changes.items():
                setattr(member, field, value)
            archive.addfile(member)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        *(({"name": name}, reason) for name, reason in EVIL_NAMES),
        ({"name": "../evil", "type": tarfile.DIRTYPE}, "its name leads outside"),
        (
            {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
            "2.jpg: is a link to /etc/passwd; links are not followed: unpack",
        ),
        ({"type": tarfile.SYMTYPE, "linkname": "1.jpg"}, "is a link to 1.jpg"),
        ({"type": tarfile.LNKTYPE, "linkname": "a/1.jpg"}, "is a link to a/1.jpg"),
        ({"type": tarfile.SYMTYPE, "linkname": "a\nb"}, r"is a link to 'a\nb'"),
        ({"type": tarfile.FIFOTYPE}, "is neither file nor folder"),
        ({"type": tarfile.CHRTYPE}, "is neither file nor folder"),
        ({"type": tarfile.BLKTYPE}, "is neither file nor folder"),
        ({"pax_headers": {"GNU.sparse.map": "0,0", "GNU.sparse.size": "9999999999"}}, "is stored with holes"),
        ({"name": "a/1.jpg"}, "a/1.jpg: its name occurs twice"),
        ({"name": "./a//1.jpg"}, "a/1.jpg: its name occurs twice"),
        ({"pax_headers": {"path": "a/\0evil.jpg"}}, "its name has a NUL character"),
    ],
)
def test_tar_members(tmp_path, packed, fields, reason):
    path = one_tar(tmp_path / ("a.tgz" if packed else "a.tar"), packed, **fields)
    message = refusal(path)
    assert message.startswith(f"{path}: refused, it has 1 unsafe members\n{path}:") and reason in message


@pytest.mark.parametrize("make", [in_tar, in_zip])
def test_too_many_members(tmp_path, monkeypatch, make):
    monkeypatch.setattr(limits, "MAX_MEMBERS", len(CONTENT) - 1)
    message = refusal(make(tmp_path / ("a.tar" if make is in_tar else "a.zip")))
    assert "refused, it has" in message and "members" in message


def test_gzip_bombs(tmp_path, monkeypatch, cache):
    monkeypatch.setattr(limits, "RATIO_FREE_TOTAL_BYTES", 2**20)
    path = in_tar(tmp_path / "a.tgz", {"2.jpg": bytes(5 * 2**20)})
    assert "a.tgz: refused, it decompresses to more than 1," in refusal(path)
    assert not list(cache.rglob("*.tar")) and not list(cache.rglob("*.part"))
    monkeypatch.setattr(limits, "MAX_RATIO", 3000)
    assert open_source(path).size("2.jpg") == 5 * 2**20


def test_a_tar_member_that_is_too_large(tmp_path, monkeypatch):
    path = in_tar(tmp_path / "a.tar")
    monkeypatch.setattr(limits, "MAX_MEMBER_BYTES", 1000)
    assert "real/cat/2.jpg: has 10,240 bytes, the limit is 1,000" in refusal(path, "real/cat/2.jpg")
    assert open_source(path).read("real/cat/1.jpg") == b"cat one", "the others can be read"


def with_header(path: Path, change: Callable[[bytearray], None]) -> Path:
    """A tar whose second header is changed, with its checksum made right."""
    data = bytearray(in_tar(path, {"a/1.jpg": b"1", "a/2.jpg": b"2"}).read_bytes())
    header = data[1024:1536]
    change(header)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[1024:1536] = header
    path.write_bytes(data)
    return path


def test_forged_tar_headers(tmp_path):
    def huge(header: bytearray) -> None:
        header[124:136] = b"77777777777\0"

    def negative(header: bytearray) -> None:
        header[124:136] = b"\xff" * 10 + b"\xf0\x00"

    def long_name(header: bytearray) -> None:
        header[156:157] = b"L"
        header[124:136] = b"77777777777\0"

    for number, change in enumerate((huge, negative, long_name)):
        path = with_header(tmp_path / f"{number}.tar", change)
        assert f"{path}: not a whole tar archive" in refusal(path)
    big = tmp_path / "big.tar"
    big.write_bytes(with_header(big, long_name).read_bytes() + bytes(limits.MAX_TAR_HEADER_BYTES * 2))
    assert "a header claims" in refusal(big)


def test_a_chain_of_headers_without_end(tmp_path):
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 4
    path = tmp_path / "a.tar"
    path.write_bytes((member.tobuf(tarfile.GNU_FORMAT) + b"name".ljust(512, b"\0")) * 3000)
    assert "not a whole tar archive" in refusal(path)


def test_an_archive_that_is_cut_short_is_never_taken_for_a_whole_one(tmp_path):
    """At every header, in every header, in every member, and at the end."""
    content = {f"{i}.jpg": b"x" * 700 for i in range(4)}
    whole = in_tar(tmp_path / "whole.tar", content).read_bytes()
    end = 4 * (512 + 1024)
    (tmp_path / "a.tar").write_bytes(whole[:2500])
    assert "it ends within member '1.jpg'" in refusal(tmp_path / "a.tar")
    for cut in [*range(1, end + 1, 128), end, end + 511]:
        (tmp_path / "a.tar").write_bytes(whole[:cut])
        assert "a.tar: not a whole tar archive" in refusal(tmp_path / "a.tar")
    for header in range(1536, end, 1536):  # a damaged header ends the archive for tarfile, without a word
        (tmp_path / "a.tar").write_bytes(whole[:header] + b"?" * 20 + whole[header + 20 :])
        assert f"its header at byte {header:,} is damaged" in refusal(tmp_path / "a.tar")
    packed = gzip.compress(whole)
    for cut in range(1, len(packed), 9):
        (tmp_path / "a.tgz").write_bytes(packed[:cut])
        assert "a.tgz: " in refusal(tmp_path / "a.tgz")
    zipped = in_zip(tmp_path / "whole.zip", content).read_bytes()
    for cut in range(1, len(zipped), 9):
        (tmp_path / "a.zip").write_bytes(zipped[:cut])
        assert "a.zip: " in refusal(tmp_path / "a.zip")


def test_a_gzip_file_that_is_damaged(tmp_path):
    packed = bytearray(gzip.compress(in_tar(tmp_path / "a.tar").read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "b.tgz").write_bytes(packed)
    assert "b.tgz: not a whole tar archive" in refusal(tmp_path / "b.tgz")


def test_each_unsafe_member_is_named_up_to_twenty(tmp_path):
    path = in_tar(tmp_path / "a.tar", {f"../evil{i}": b"" for i in range(30)})
    with pytest.raises(DatasetError) as raised:
        open_source(path)
    lines = str(raised.value).splitlines()
    assert len(lines) == 22 and lines[0].endswith("it has 30 unsafe members") and lines[-1] == "... and 10 more"


def test_a_flipped_byte_anywhere_gives_a_clear_error_or_the_right_content(tmp_path):
    whole = {"tar": in_tar(tmp_path / "w.tar").read_bytes(), "zip": in_zip(tmp_path / "w.zip").read_bytes()}
    for kind, data in whole.items():
        for at in range(0, len(data), 97):
            path = tmp_path / f"a.{kind}"
            path.write_bytes(data[:at] + bytes([data[at] ^ 0xA5]) + data[at + 1 :])
            try:
                source = open_source(path)
                found = {name: source.read(name) for name in source.below("")}
            except DatasetError as error:
                assert str(error).startswith(str(path))
            else:
                assert kind == "tar" or all(CONTENT.get(name, data) == data for name, data in found.items())


NEWLINE = "a/evil\n/etc/passwd: is fine.jpg"


@pytest.mark.parametrize("make", [in_tar, in_zip])
def test_names_that_differ_in_case_alone_or_have_control_characters_are_members_like_others(tmp_path, make):
    """Nothing is written by name, so they cannot meet on a disk; and no name can add a line to a message."""
    content = {"a/1.jpg": b"1", "A/1.JPG": b"2", "a/1.JPG": b"3", NEWLINE: b"4"}
    path = make(tmp_path / ("a.tar" if make is in_tar else "a.zip"), content)
    source = open_source(path, (), ("a", "A"))
    assert {name: source.read(name) for name in source.below("")} == content
    assert source.where(NEWLINE) == f"{path}:{NEWLINE!a}"
    with pytest.raises(FileNotFoundError) as raised:
        source.read(f"{NEWLINE}x")
    assert str(raised.value).isprintable()


def test_a_block_of_zeros_is_not_taken_for_the_end(tmp_path):
    """A hole in a file: tarfile would stop there, and all images behind it would be lost in silence."""
    content = {f"{i}.jpg": b"x" * 700 for i in range(4)}
    whole = in_tar(tmp_path / "whole.tar", content).read_bytes()
    for packed in (bytes, gzip.compress):
        path = tmp_path / ("a.tar" if packed is bytes else "a.tgz")
        path.write_bytes(packed(whole[:1536] + bytes(1024) + whole[2560:]))
        assert f"{path}: not a whole tar archive: it seems to end at byte 1,536, but goes on at byte 3,072" in refusal(
            path
        )
    path = tmp_path / "two.tar"
    path.write_bytes(whole + whole)
    assert "but goes on at byte" in refusal(path)
    path.write_bytes(whole + bytes(2**21))
    assert len(open_source(path).below("")) == 4, "any number of zeros may follow the end"


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, None])
def test_the_last_header_and_those_of_the_oldest_format_are_missed_too(tmp_path, kind):
    """Nothing but the bytes behind a single block of zeros, or a checksum, tells that the archive goes on."""
    whole = bytearray(in_tar(tmp_path / "whole.tar", {f"{i}.jpg": b"x" * 700 for i in range(4)}).read_bytes())
    for start in range(0, 4 * 1536, 1536):
        if kind is None:  # without the mark that newer formats have
            whole[start + 257 : start + 265] = bytes(8)
            whole[start + 148 : start + 156] = b" " * 8
            whole[start + 148 : start + 156] = b"%06o\0 " % sum(whole[start : start + 512])
    path = tmp_path / "a.tar"
    path.write_bytes(whole)
    assert len(open_source(path).below("")) == 4
    path.write_bytes(whole[: 3 * 1536] + bytes(512) + whole[3 * 1536 + 512 :])
    assert "it seems to end at byte 4,608, but goes on at byte 5,120" in refusal(path)
    path.write_bytes(whole[:1536] + bytes(1536) + whole[3072:])
    assert "it seems to end at byte 1,536, but goes on at byte 3,072" in refusal(path)
    path.write_bytes(bytes(whole) + b"what someone wrote behind it")
    assert len(open_source(path).below("")) == 4
