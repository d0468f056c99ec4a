"""UCF101: the middle frames of its videos, where the extracted frames are not at hand."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets import DatasetError
from datasets.sources import open_source
from datasets.ucf101 import middle_frame
from tests.datasets.downstream_miniatures import UCF, ucf_lists
from tests.datasets.miniature import write_files


def video(num_frames: int) -> bytes:
    """An AVI of 32x24 pixels whose frame k is grey of value 8 k."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for number in range(num_frames):
            frame = av.VideoFrame.from_image(Image.new("RGB", (32, 24), (8 * number,) * 3))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize("layout", ["UCF-101/{action}/{video}", "UCF101/{video}"])
def test_middle_frames_are_taken_from_videos(tmp_path: Path, layout: str) -> None:
    content = ucf_lists()
    for rows in UCF.values():
        for row in rows:
            action, name = row.split()[0].split("/")
            content[layout.format(action=action, video=name)] = video(9)
    source = open_source(write_files(tmp_path, content))
    dataset = datasets.load("ucf101")
    entries = dataset.entries("ucf101", "test", source)
    assert [entry.label for entry in entries] == [dataset.info.classnames.index(n) for n in ("Tai Chi", "Yo Yo")]
    data, extension = dataset.read(entries[0], source)
    image = np.asarray(Image.open(io.BytesIO(data)), dtype=int)
    assert extension == "png" and image.shape == (24, 32, 3) and abs(image - 8 * 4).max() <= 6, "frame 4 of 0 to 8"
    assert dataset.read(entries[0], source)[0] == data


def test_videos_without_their_reader_or_damaged_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    with pytest.raises(DatasetError, match=r"a\.avi: cannot be decoded"):
        middle_frame(b"RIFF" + bytes(200), "a.avi")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        DatasetError, match=r"needs PyAV: pip install av; or give the extracted frames, UCF-101-midframes\.zip"
    ):
        middle_frame(b"", "a.avi")
