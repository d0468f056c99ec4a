"""`domainnet`: 345 classes in six domains, of which the benchmark of the Lipsum-FT paper uses five.

The authors' zips are read where they lie; unpacked folders beside each other work as well. In the folder for `--from`:

    real.zip, sketch.zip, infograph.zip, quickdraw.zip     or the folders real/, sketch/, ...
    groundtruth/clipart.zip, groundtruth/painting.zip      or the folders clipart/, painting/
    domainnet/txt/{domain}_{train,test}.txt                or {domain}_{train,test}.txt beside the folders

all under http://csr.bu.edu/ftp/visda/2019/multi-source/. The clipart.zip and painting.zip outside of groundtruth/ hold other
images; TFDS, DomainBed and all code we read take those in groundtruth/.

Revisions, for the same images under three protocols:
- `cleaned` (default): the lists of 2019, without near-duplicates; 586,575 images. TFDS `domainnet` 1.0.0 has these.
- `original`: the first lists, 596,006 images; what TPGM, FTP, SPD and LP-FT report on. At txt/ and, for clipart and painting,
  groundtruth/txt/ instead of domainnet/txt/.
- `domainbed`: no lists. All images of the zips in one split `train`, without the 9,431 that DomainBed deletes (its
  domainbed/misc/domain_net_duplicates.txt has to lie in the folder as well). Its 80/20 holdout is a setting of the benchmark.

The cleaned lists are the original ones without the duplicates: removing DomainBed's list from the five original test lists in
GT-RIPL/FTP@1f8dd44 (datasets/domainnet) gives files with the sha256 that TFDS states for the cleaned ones. From this follow the
original train counts (cleaned, plus the duplicates that no test list has); real's equals the 110,307 + 12,256 lines there,
and the total is the 596,006 that the sum of both lists must have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo, Entry, Published, PublishedFile
from datasets.folder import Folder, Layout
from datasets.templates import OPENAI_IMAGENET_TEMPLATES

_HERE = Path(__file__).parent
_URL = "http://csr.bu.edu/ftp/visda/2019/multi-source"

# Facts: train and test images by the cleaned lists (TFDS `domainnet` 1.0.0), then by the original ones (see the docstring).
_COUNTS = {
    "real": (120_906, 52_041, 122_563, 52_764),
    "painting": (50_416, 21_850, 52_867, 22_892),
    "clipart": (33_525, 14_604, 34_019, 14_814),
    "infograph": (36_023, 15_582, 37_087, 16_114),
    "sketch": (48_212, 20_916, 49_115, 21_271),
    "quickdraw": (120_750, 51_750, 120_750, 51_750),
}
COUNTS = {domain: {"train": train, "test": test} for domain, (train, test, _, _) in _COUNTS.items()}
ORIGINAL_COUNTS = {domain: {"train": train, "test": test} for domain, (_, _, train, test) in _COUNTS.items()}
DOMAINS = tuple(COUNTS)
POOLED = tuple(sorted(COUNTS))
"""in DomainBed's order"""

# Facts: images of each class in all test lists and in real's train list, counted in the lists named in the docstring.
CLASS_COUNTS: dict[str, dict[str, dict[str, tuple[int, ...]]]] = {
    revision: {domain: {split: tuple(n) for split, n in splits.items()} for domain, splits in domains.items()}
    for revision, domains in json.loads((_HERE / "domainnet_class_counts.json").read_text(encoding="utf-8")).items()
}

# Facts: names in label order as in `tfds_domainnet_classnames`, cs-giung/lipsum-ft@1331873d21a4 scripts/classnames.py.
# Folders and labels in the authors' lists agree with it (the lists in GT-RIPL/FTP).
CLASSNAMES: tuple[str, ...] = tuple((_HERE / "domainnet_classnames.txt").read_text(encoding="utf-8").split())

# Facts: sizes and sha256 in tensorflow/datasets@90b6623, image_classification/domainnet/checksums.tsv.
_ZIPS: dict[str, tuple[str, int, str]] = {
    "real": ("real.zip", 6_062_039_589, "d7fe010b430c5b510f85d657d38c4a1924822695fabea4fef57bd00dba251d63"),
    "painting": (
        "groundtruth/painting.zip",
        3_679_366_174,
        "fa47e6d405503ea0286cabd767f176bd30e988b63ddd7b9db16cf030c9770015",
    ),
    "clipart": (
        "groundtruth/clipart.zip",
        1_270_909_081,
        "f8f248a3e8bbc9868c523ae24e6601b4c2ad102afc60c0efeb4f3255df22354d",
    ),
    "infograph": ("infograph.zip", 4_338_659_804, "891e14f476317e97b6f06d6498c11d0a5b8d0c8b57210765ed9beb072da611fa"),
    "sketch": ("sketch.zip", 2_633_992_926, "23a7dbae7016b343e934399beaa8a68728fb5e570ebe2c71df9b75cf91c499fc"),
    "quickdraw": ("quickdraw.zip", 459_920_701, "9f37df2a8c3733703dbb35ad9964202a65f675ca30137756457537536b485d84"),
}
_CLEANED_LISTS: dict[str, tuple[int, str]] = {
    "real_train": (4_440_944, "19d483256d24aef19e581b65eda8333fd918aef3eb733fe499ff384120e3a289"),
    "real_test": (1_911_327, "2b3f75bcde309aeb5931292084b2162e936b5f189e3bb1ad716f0f74c460864c"),
    "painting_train": (2_241_901, "f1da38d50a702fddf1329f85bc607d7a2abcae7e6aec75e1fd49cc1bd340d47b"),
    "painting_test": (971_888, "11472b13b5188e09f06918b12eebb660588c97a20e43e268d9b02e3e37eb8f97"),
    "clipart_train": (1_443_819, "affdadf5f95a7583e6b98030a3d35007e2613ee4dd942393c5a705ec2b429312"),
    "clipart_test": (628_917, "62c8e36aaba1c41ad9e249099739707220a44c08f167b37ef420f34a31628a6b"),
    "infograph_train": (1_683_098, "36b44cbd41a2915e0dc73b4f4be8862a6f3c220f93c8d63fb2439beeae3aefda"),
    "infograph_test": (728_028, "413cfa54ac92e7e6b242f4f09fbd9c8ace85c4deaf3cb6c81ff6b68264460136"),
    "sketch_train": (1_960_222, "72f4bc6afa5702a1ccba800d0053c1427de87439dfaf246dbc9a2e71abfec54f"),
    "sketch_test": (850_581, "3fb48fca18c507c4321f007c3f62b308ec232ff6928cbfe2af64e76ec366e840"),
    "quickdraw_train": (5_164_600, "3a5edd3bc215772010eebc87f158707703dd7e48091d13b816af81326a9d1c0f"),
    "quickdraw_test": (2_213_400, "2a00a60650a453c65c356da748fec54084a197272137c440e7d52d08947357bf"),
}
# Facts: size and sha256 of the lists in GT-RIPL/FTP@1f8dd44, datasets/domainnet; no train list is there as published.
# quickdraw's lists have no duplicates: they are the cleaned ones.
_ORIGINAL_LISTS: dict[str, tuple[int, str]] = {
    "real_test": (1_938_448, "02b511dc56ca37fc2ccacf5e8c0ddef73b57e3cf3a33e41a57dd060092f6ce49"),
    "painting_test": (1_018_556, "253015d0d3d05754d814c5b70800d44492019e8b57d2ec27e39273475f34e79a"),
    "clipart_test": (637_659, "0bed47af4859ff3ff55f84b6bec6d13bf73ed1dc33ef74bbc342fbcc83ba7412"),
    "infograph_test": (752_993, "774a2d49a9912da6f2df74eb02fc8e0d042214a4db5e50ae79daabf7c183f43a"),
    "sketch_test": (865_137, "860fbc2dd4a44c55bc16ce87f92db32b78e3b2cc763545d99968583d41978893"),
    "quickdraw_test": _CLEANED_LISTS["quickdraw_test"],
}
DUPLICATES = "domain_net_duplicates.txt"

_NAMES = "Class names keep their underscores in prompts, as published zero-shot numbers do; `class_names: spaces` changes it."
_QUICKDRAW = "quickdraw is left out unless named: zero-shot and fine-tuned models reach about 5 % there."
_NO_VAL = "There is no validation split; Lipsum-FT selects on real's test split."
_GROUNDTRUTH = "clipart.zip and painting.zip are those in groundtruth/; the ones of the same name beside it differ."


class DomainNet(Folder):
    """DomainNet by one revision of its lists."""

    def __init__(self, info: DatasetInfo, places: Mapping[str, str], files: Sequence[PublishedFile]) -> None:
        """`places`: domain -> folder of its lists at the authors' site; beside the domain folders they are found as well."""
        layout = Layout({domain: domain for domain in info.domains}, CLASSNAMES, lists={})
        super().__init__(info, layout, files)
        self.places = places

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        """As `Folder.entries`, by the list of this domain and split."""
        names = [f"{self.places[domain]}/{domain}_{split}.txt", f"{domain}_{split}.txt"]
        name = next((name for name in names if source is not None and source.exists(name)), names[0])
        return Folder(self.info, replace(self.layout, lists={split: name})).entries(domain, split, source)


class DomainBedPool(Folder):
    """DomainNet as DomainBed has it: what is in the zips, without the duplicates."""

    def __init__(self, info: DatasetInfo, files: Sequence[PublishedFile]) -> None:
        layout = Layout({domain: domain for domain in info.domains}, CLASSNAMES, all_in="train")
        super().__init__(info, layout, files)

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        """As `Folder.entries`, without the duplicates. Raises FileNotFoundError if their list is missing, DatasetError if
        it names none of the domains."""
        if source is None:
            return super().entries(domain, split, source)  # which says what is missing
        if not source.exists(DUPLICATES):
            raise FileNotFoundError(
                f"list {source.where(DUPLICATES)} does not exist; get it from {self.files[-1].urls[0]}"
            )
        duplicates = set(source.read(DUPLICATES).decode("utf-8", "replace").split())
        if not any(path.partition("/")[0] in self.info.domains for path in duplicates):
            raise DatasetError(
                f"{source.where(DUPLICATES)}: names no image of {', '.join(self.info.domains)}; get it again"
            )
        found = super().entries(domain, split, source)
        return [entry for entry in found if entry.path not in duplicates]


def _zip(domain: str) -> PublishedFile:
    name, size, sha256 = _ZIPS[domain]
    return PublishedFile(
        name=name,
        urls=(f"{_URL}/{name}",),
        bytes=size,
        checksum=f"sha256:{sha256}",
        domains=(domain,),
        unpacked=(domain,),
    )


def _list(domain: str, split: str, place: str, known: Mapping[str, tuple[int, str]]) -> PublishedFile:
    size, sha256 = known.get(f"{domain}_{split}", (None, None))
    name = f"{place}/{domain}_{split}.txt"
    return PublishedFile(
        name=name,
        urls=(f"{_URL}/{name}",),
        bytes=size,
        checksum=sha256 and f"sha256:{sha256}",
        domains=(domain,),
        unpacked=(f"{domain}_{split}.txt",),
    )


def _listed(
    revision: str,
    counts: dict[str, dict[str, int]],
    places: dict[str, str],
    known: Mapping[str, tuple[int, str]],
    notes: tuple[str, ...],
) -> DomainNet:
    info = _info(
        revision,
        domains=DOMAINS,
        optional_domains=("quickdraw",),
        counts=counts,
        class_counts=CLASS_COUNTS[revision],
        notes=(*notes, _QUICKDRAW, _NAMES, _NO_VAL, _GROUNDTRUTH),
    )
    lists = [_list(domain, split, places[domain], known) for domain in DOMAINS for split in ("train", "test")]
    return DomainNet(info, places, [*map(_zip, DOMAINS), *lists])


def _info(revision: str, **facts: Any) -> DatasetInfo:
    return DatasetInfo(
        name="domainnet",
        title=f"DomainNet ({revision})",
        revision=revision,
        classnames=CLASSNAMES,
        templates=OPENAI_IMAGENET_TEMPLATES,
        source="https://ai.bu.edu/DomainNet/",
        license="none stated; images belong to their authors, offered for research under a fair use notice",
        citation="Peng et al.: Moment Matching for Multi-Source Domain Adaptation, ICCV 2019, arXiv:1812.01754",
        **facts,
    )


def _pool() -> DomainBedPool:
    real = CLASS_COUNTS["cleaned"]["real"]
    info = _info(
        "domainbed",
        domains=POOLED,
        counts={domain: {"train": sum(COUNTS[domain].values())} for domain in POOLED},
        class_counts={"real": {"train": tuple(map(sum, zip(real["train"], real["test"], strict=True)))}},
        notes=(
            "One split only: DomainBed holds 20 % of each domain out by a seed, which the benchmark's protocol does.",
            f"The 9,431 images of {DUPLICATES} are left out; what is left are the images of both cleaned lists.",
            "quickdraw is one of the six domains here.",
            _NAMES,
            _GROUNDTRUTH,
        ),
    )
    duplicates = PublishedFile(
        name=DUPLICATES,
        urls=(
            "https://raw.githubusercontent.com/facebookresearch/DomainBed/b93c22a1cfc3b2428398272c1a116c8de1f4139e/"
            "domainbed/misc/domain_net_duplicates.txt",
        ),
        bytes=365_663,
        checksum="sha256:a52b4ab70203f4f3df381077694dba3e33ff44c26407e1c5faca76919c702770",
    )
    return DomainBedPool(info, [*map(_zip, POOLED), duplicates])


# Where the original lists lie is taken from public loaders that fetch them; the server could not be asked.
_ORIGINAL_PLACES = {domain: "groundtruth/txt" if domain in ("clipart", "painting") else "txt" for domain in DOMAINS}
_NO_T_SHIRT = (
    "Class 327, t-shirt, has no image in painting's train list: all 8 of the original list are near-duplicates. painting as "
    "source trains 344 classes; its test list has 2 t-shirts."
)
_NO_SYRINGE = (
    "Class 300, syringe, has no image in painting's test list: all 3 of the original list are near-duplicates."
)
_ORIGINAL = "Not the lists of the Lipsum-FT paper: 9,431 near-duplicates are still in them."

DATASET: Dataset = _listed(
    "cleaned", COUNTS, dict.fromkeys(DOMAINS, "domainnet/txt"), _CLEANED_LISTS, (_NO_T_SHIRT, _NO_SYRINGE)
)
REVISIONS: dict[str, Dataset] = {
    "cleaned": DATASET,
    "original": _listed("original", ORIGINAL_COUNTS, _ORIGINAL_PLACES, _ORIGINAL_LISTS, (_ORIGINAL,)),
    "domainbed": _pool(),
}
