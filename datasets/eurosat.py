"""`eurosat`: 27,000 satellite images of 64x64 pixels in 10 classes of land use.

Published: EuroSAT.zip (RGB) with 2750/<Class>/<Class>_<n>.jpg; there is no official split. The default revision `holdout`
tests on a seeded 30 % of each class; revision `coop` on CoOp's 30 % (`split_zhou_EuroSAT.json`, by hand). CLIP's own 5,000
test images were never published.
"""

from __future__ import annotations

from datasets.base import Dataset, PublishedFile
from datasets.downstream import CoopSplit, Holdout

TOPS = ("2750/", "eurosat/2750/", "EuroSAT_RGB/", "")
# Facts: URL and md5 of torchvision 0.29 datasets/eurosat.py; the older URL and bytes of tensorflow/datasets url_checksums.
FILES = (
    PublishedFile(
        name="EuroSAT.zip",
        urls=(
            "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
            "http://madm.dfki.de/files/sentinel/EuroSAT.zip",
        ),
        bytes=94_280_567,
        checksum="md5:c8fa014336c82ac7804f0398fcb19387",
        unpacked=("2750",),
    ),
)
COUNTS = {"train": 18_900, "test": 8_100}

_HOLDOUT = Holdout(
    "eurosat",
    COUNTS,
    TOPS,
    FILES,
    revision="holdout",
    title="EuroSAT (RGB)",
    source="https://github.com/phelber/EuroSAT",
    license="MIT; Copernicus Sentinel-2 data",
    citation="Helber et al.: EuroSAT - A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover "
    "Classification, JSTARS 2019, arXiv:1709.00029",
    notes=["There is no official split: numbers of different splits, CLIP's among them, cannot be compared."],
)
DATASET: Dataset = _HOLDOUT
REVISIONS: dict[str, Dataset] = {
    "holdout": DATASET,
    "coop": CoopSplit(
        _HOLDOUT,
        COUNTS,
        list_name="split_zhou_EuroSAT.json",
        drive_id="1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o",
        list_tops=("", "eurosat/"),
        tops=TOPS,
    ),
}
