"""`ucf101`: 101 human actions; the middle frame of each video, test split 1 of three, as in CoOp.

CLIP takes middle frames too, but not of this split: tables of datasets as in its paper (RealSyn, Table 8) have the same 9,537
training and only 1,794 test images, where this split has 3,783. Which they are was not found.

Published lists: UCF101TrainTestSplits-RecognitionTask.zip (ucfTrainTestlist/{train,test}list01.txt with lines
'ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi'). The frames come from whichever of these the source has:

1. UCF-101-midframes.zip, extracted by CoOp: UCF-101-midframes/Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c01.jpg. These are the
   frames that most papers used.
2. The videos: UCF-101/ApplyEyeMakeup/*.avi, unpacked by hand from UCF101.rar, or UCF101_videos.zip (a mirror, all videos in
   one folder). The frame in the middle of all decoded ones is stored as PNG. Needs PyAV: pip install av

The pixels of 1 and 2 differ a little (JPEG, and which of two middle frames), so do the identities of the prepared data.
"""

from __future__ import annotations

import importlib
import io
import re
from pathlib import PurePosixPath

from datasets import DatasetError
from datasets.base import Dataset, Entry, Published, PublishedFile
from datasets.downstream import Downstream, Listing
from datasets.lists import lines

LISTS = {"train": "trainlist01.txt", "test": "testlist01.txt"}
FRAMES = ("UCF-101-midframes/", "ucf101/UCF-101-midframes/")
VIDEOS = ("UCF-101/", "UCF101/")
# Facts: URLs, bytes and sha256 of tensorflow/datasets@24211da url_checksums/ucf101.txt; frames: KaiyangZhou/CoOp@ff61507
# DATASETS.md (no checksum published). 9,537 and 3,783 lines: copy of the lists in pyxploiter/Video-Classification-UCF101@485676b.
FILES = (
    PublishedFile(
        name="UCF101TrainTestSplits-RecognitionTask.zip",
        urls=("https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip",),
        bytes=113_943,
        checksum="sha256:5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27",
        unpacked=("ucfTrainTestlist",),
    ),
    PublishedFile(
        name="UCF-101-midframes.zip",
        urls=("https://drive.google.com/file/d/10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O/view",),
        unpacked=("UCF-101-midframes",),
        optional=True,
    ),
    PublishedFile(
        name="UCF101_videos.zip",
        urls=("https://storage.googleapis.com/thumos14_files/UCF101_videos.zip",),
        bytes=6_960_400_115,
        checksum="sha256:dabf56f573cd19c79e096563529fec8126a2a34e18e10c72eb621dd687532b0d",
        unpacked=("UCF101",),
        optional=True,
    ),
)


class Ucf101(Downstream):
    """The first official split, one image a video."""

    def listed(self, split: str, files: Published) -> Listing:
        """As `Downstream.listed`."""
        path = self.top(files, LISTS[split]) + LISTS[split]
        videos = []
        for place, text in lines(files, path):
            name = text.split()[0]  # training lists have the number of the class behind it
            action, slash, video = name.partition("/")
            if not slash or "/" in video or not video.endswith(".avi"):
                raise DatasetError(f"{place}: expected '<Action>/<video>.avi', got {text!r}")
            videos.append((action, video, self.label(action, place)))
        if not videos:
            raise DatasetError(f"{files.where(path)}: names no videos")
        return self._places(videos, files)

    def _places(self, videos: list[tuple[str, str, int]], files: Published) -> Listing:
        """Where the frames, or the videos, of these names lie."""
        frames = [(f"{_spaced(action)}/{PurePosixPath(video).stem}.jpg", label) for action, video, label in videos]
        nested = [(f"{action}/{video}", label) for action, video, label in videos]
        flat = [(video, label) for _, video, label in videos]
        layouts = [(folder, frames) for folder in FRAMES]
        layouts += [(folder, names) for folder in VIDEOS for names in (nested, flat)]
        for folder, names in layouts:
            if files.exists(folder + names[0][0]):
                return folder, names
        tried = ", ".join(folder + names[0][0] for folder, names in layouts)
        raise FileNotFoundError(
            f"neither frames nor videos of ucf101 in {files.where('')}: tried {tried}; get {FILES[1].name} from "
            f"{FILES[1].urls[0]}, or the videos from {self.info.source}"
        )

    def read(self, entry: Entry, source: Published | None) -> tuple[bytes, str]:
        """As `Dataset.read`; of a video the frame in its middle, as PNG."""
        data, extension = super().read(entry, source)
        return (data, extension) if extension != "avi" else (middle_frame(data, entry.path), "png")


def middle_frame(video: bytes, name: str) -> bytes:
    """Frame n // 2 of the n frames of a video, as PNG. Raises DatasetError without PyAV or for a damaged video."""
    try:
        av = importlib.import_module("av")
    except ImportError:
        raise DatasetError(
            f"{name}: reading videos needs PyAV: pip install av; or give the extracted frames, {FILES[1].name}"
        ) from None
    try:
        with av.open(io.BytesIO(video)) as container:
            frames = list(container.decode(video=0))
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise DatasetError(f"{name}: cannot be decoded: {error}") from None
    if not frames:
        raise DatasetError(f"{name}: has no frames")
    image = io.BytesIO()
    frames[len(frames) // 2].to_image().save(image, "PNG")
    return image.getvalue()


def _spaced(action: str) -> str:
    """CoOp's name of an action's folder: 'ApplyEyeMakeup' becomes 'Apply_Eye_Makeup'."""
    return "_".join(re.findall("[A-Z][^A-Z]*", action))


DATASET: Dataset = Ucf101(
    "ucf101",
    {"train": 9_537, "test": 3_783},
    ("ucfTrainTestlist/", "ucf101/ucfTrainTestlist/", ""),
    FILES,
    title="UCF101 (middle frames)",
    source="https://www.crcv.ucf.edu/data/UCF101.php",
    license="none stated; videos are from YouTube, for research",
    citation="Soomro et al.: UCF101 - A Dataset of 101 Human Actions Classes From Videos in The Wild, arXiv:1212.0402",
    notes=[
        "Frames extracted here and those of UCF-101-midframes.zip differ a little; the prepared data's identity tells.",
        "CLIP's test images are said to be 1,794, not this split's 3,783: its published zero-shot number is of others.",
        "Videos of HandstandPushups are called v_HandStandPushups_*.avi; the lists have them so.",
    ],
)
