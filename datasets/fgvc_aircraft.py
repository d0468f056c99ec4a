"""`fgvc_aircraft`: 100 variants of aircraft, 100 images each; the official split by variant, as in CLIP and CoOp.

Published: fgvc-aircraft-2013b.tar.gz with fgvc-aircraft-2013b/data/{images,variants.txt,images_variant_trainval.txt,...};
lines '1025794 707-320': image, variant, which may have spaces. CLIP measures the mean of the classes' accuracies here, this
benchmark the accuracy over all images: with 33 or 34 test images a class they are nearly the same.
"""

from __future__ import annotations

from datasets.base import Dataset, PublishedFile
from datasets.torchvision_lists import Portion, TorchvisionLists

# Facts: URL of torchvision 0.29 datasets/fgvc_aircraft.py (no md5 there), bytes and sha256 of tensorflow/datasets@f921fd8
# url_checksums/fgvc.txt.
FILES = (
    PublishedFile(
        name="fgvc-aircraft-2013b.tar.gz",
        urls=("https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",),
        bytes=2_770_575_360,
        checksum="sha256:d5f68b1b81d6d7831eb9d5c5517074176b5dfbce6bcb43dc14ed1c66a87b8d75",
        unpacked=("fgvc-aircraft-2013b/data/images",),
    ),
)
LISTS = {
    "train": (Portion("trainval", ("images_variant_trainval.txt", "variants.txt")),),
    "test": (Portion("test", ("images_variant_test.txt", "variants.txt")),),
}
OPTIONS = {"annotation_level": "variant", "loader": str}


class FgvcAircraft(TorchvisionLists):
    """The official split: trainval and test."""

    reader, home, by_name = "FGVCAircraft", "fgvc-aircraft-2013b/data/", True
    portions, options = LISTS, OPTIONS


DATASET: Dataset = FgvcAircraft(
    "fgvc_aircraft",
    {"train": 6_667, "test": 3_333},
    ("fgvc-aircraft-2013b/data/", "data/", "fgvc_aircraft/", ""),
    FILES,
    title="FGVC Aircraft",
    source="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    license="images belong to their photographers; non-commercial research",
    citation="Maji et al.: Fine-Grained Visual Classification of Aircraft, arXiv:1306.5151",
    notes=["Each image ends in a banner of 20 pixels with its photographer's name; it is kept, as in torchvision."],
)
