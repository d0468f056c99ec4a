"""Facts about ImageNet and its shifts, for `datasets.imagenet`: classes, counts, published files."""

from __future__ import annotations

from pathlib import Path

from datasets.base import PublishedFile

_ROWS = [
    line.split("\t")
    for line in Path(__file__).with_name("imagenet_classes.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
WNIDS = tuple(row[0] for row in _ROWS)
CLASSNAMES = tuple(row[1] for row in _ROWS)
R_LABELS = tuple(label for label, row in enumerate(_ROWS) if row[2] == "R")
A_LABELS = tuple(label for label, row in enumerate(_ROWS) if row[3] == "A")
OBJECTNET_FOLDERS: dict[str, tuple[int, ...]] = {
    folder: tuple(label for label, row in enumerate(_ROWS) if row[4] == folder)
    for folder in sorted({row[4] for row in _ROWS} - {"-"})
}
"""folder of an ObjectNet class -> the labels of ImageNet that it is"""

# Facts: ImageNet's are in every source; V2 and R: readmes of modestyachts/ImageNetV2@0b0c3fe and hendrycks/imagenet-r@3131cac;
# A: its paper (arXiv:1907.07174). Generally known, without a primary source: Sketch's 50,889 (its readme says 50,000) and
# ObjectNet's 18,574 of 50,000 images in the 113 classes. No counts per class were found for R, A, Sketch and ObjectNet.
COUNTS = {
    "imagenet": {"train": 1_281_167, "test": 50_000},
    "v2": {"test": 10_000},
    "r": {"test": 30_000},
    "a": {"test": 7_500},
    "sketch": {"test": 50_889},
    "objectnet": {"test": 18_574},
}

# Facts: size and sha256 in tensorflow/datasets, url_checksums/ and datasets/*/checksums.tsv; the devkit's md5 in torchvision
# (datasets/imagenet.py). ImageNet itself needs an account, so there are no addresses. ObjectNet's zip has 197,047,590,895 bytes
# (shinobiultra/DatasetAtlas@7ee9b0b), which are not asked for here: what can be read is that zip packed again, without password.
FILES = (
    PublishedFile(
        name="ILSVRC2012_img_train.tar",
        bytes=147_897_477_120,
        checksum="sha256:b08200a27a8e34218a0e58fde36b0fe8f73bc377f4acea2d91602057c3ca45bb",
        domains=("imagenet",),
        mount="train",
        unpacked=("train",),
    ),
    PublishedFile(
        name="ILSVRC2012_img_val.tar",
        bytes=6_744_924_160,
        checksum="sha256:c7e06a6c0baccf06d8dbeb6577d71efff84673a5dbdd50633ab44f8ea0456ae0",
        domains=("imagenet",),
        mount="val",
        unpacked=("val",),
    ),
    PublishedFile(
        name="ILSVRC2012_devkit_t12.tar.gz",
        checksum="md5:fa75699e90414af021442c21a62c3abf",
        domains=("imagenet",),
        unpacked=("ILSVRC2012_devkit_t12",),
    ),
    PublishedFile(
        name="imagenetv2-matched-frequency.tar.gz",
        urls=(
            "https://s3-us-west-2.amazonaws.com/imagenetv2public/imagenetv2-matched-frequency.tar.gz",
            "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz",
        ),
        bytes=1_253_959_680,
        checksum="sha256:a32004f9e773279307499059d320336a23ccdc62cb32063da29bae9bd04c122c",
        domains=("v2",),
        unpacked=("imagenetv2-matched-frequency-format-val",),
    ),
    PublishedFile(
        name="imagenet-r.tar",
        urls=("https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",),
        bytes=2_191_079_936,
        checksum="sha256:18c6bf493b39a0d975d48e587437f562caab9c52ae6327dcfa9dd8eb54aa1b52",
        domains=("r",),
        unpacked=("imagenet-r",),
    ),
    PublishedFile(
        name="imagenet-a.tar",
        urls=("https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",),
        bytes=687_552_512,
        checksum="sha256:3bb3632277e6ba6392ea64c02ddbf4dd2266c9caffd6bc09c9656d28f012589e",
        domains=("a",),
        unpacked=("imagenet-a",),
    ),
    PublishedFile(
        name="ImageNet-Sketch.zip",
        urls=("https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/ImageNet-Sketch.zip",),
        bytes=7_593_573_012,
        checksum="sha256:4d3ce6b82a7c48aabf14aeac105eb533e75707f152cc858f55bfc022031a72ed",
        domains=("sketch",),
        unpacked=("sketch",),
    ),
    PublishedFile(name="objectnet-1.0.zip", domains=("objectnet",), unpacked=("objectnet-1.0",)),
)
