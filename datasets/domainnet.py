"""`domainnet`: 345 classes in six domains, of which the benchmark of the Lipsum-FT paper uses five.

Source files (`https://ai.bu.edu/DomainNet/`, cleaned version): real.zip, sketch.zip, infograph.zip,
groundtruth/clipart.zip, groundtruth/painting.zip under `http://csr.bu.edu/ftp/visda/2019/multi-source/`, unpacked next to
each other, and the lists `domainnet/txt/{domain}_{train,test}.txt` from there, put beside the domain folders:

    <source>/real/aircraft_carrier/real_001_000001.jpg
    <source>/real_train.txt

Facts to know:
- Class names keep their underscores in prompts ("a photo of a aircraft_carrier."), as published zero-shot numbers do.
- Counts are of the cleaned lists; older copies of the lists have more lines and are refused.
- Class 327, t-shirt, has no image in painting's train split: painting as reference domain trains 344 classes.
- quickdraw (120,750 train and 51,750 test images) is left out, as in the paper: zero-shot and fine-tuned models reach about
  5 % there. `DomainNet(domains=ALL_DOMAINS)` has it.
- There is no validation split.
"""

from __future__ import annotations

from pathlib import Path

from datasets.base import Dataset, DatasetInfo
from datasets.folder import Folder, Layout
from datasets.templates import OPENAI_IMAGENET_TEMPLATES

# Facts: TFDS `domainnet` 1.0.0, the cleaned lists.
COUNTS: dict[str, dict[str, int]] = {
    "real": {"train": 120_906, "test": 52_041},
    "painting": {"train": 50_416, "test": 21_850},
    "clipart": {"train": 33_525, "test": 14_604},
    "infograph": {"train": 36_023, "test": 15_582},
    "sketch": {"train": 48_212, "test": 20_916},
    "quickdraw": {"train": 120_750, "test": 51_750},
}
ALL_DOMAINS = tuple(COUNTS)
DOMAINS = tuple(domain for domain in ALL_DOMAINS if domain != "quickdraw")

# Facts: names in label order as in `tfds_domainnet_classnames`, cs-giung/lipsum-ft@1331873d21a4 scripts/classnames.py.
# Folders and labels in the authors' lists agree with it (five test lists in GT-RIPL/FTP, datasets/domainnet).
CLASSNAMES: tuple[str, ...] = tuple(
    Path(__file__).with_name("domainnet_classnames.txt").read_text(encoding="utf-8").split()
)


class DomainNet(Folder):
    """DomainNet, cleaned version, read from its unpacked archives and lists."""

    def __init__(self, domains: tuple[str, ...] = DOMAINS) -> None:
        info = DatasetInfo(
            name="domainnet",
            title="DomainNet (cleaned)",
            revision="cleaned",
            domains=domains,
            classnames=CLASSNAMES,
            templates=OPENAI_IMAGENET_TEMPLATES,
            source="https://ai.bu.edu/DomainNet/",
            license="none stated; images belong to their authors, offered for research under a fair use notice",
            citation="Peng et al.: Moment Matching for Multi-Source Domain Adaptation, ICCV 2019, arXiv:1812.01754",
            counts={domain: COUNTS[domain] for domain in domains},
        )
        lists = {"train": "{domain}_train.txt", "test": "{domain}_test.txt"}
        super().__init__(info, Layout({domain: domain for domain in domains}, CLASSNAMES, lists))


DATASET: Dataset = DomainNet()
