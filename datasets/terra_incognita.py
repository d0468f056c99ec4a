"""`terra_incognita`: animals before four camera traps in the wild, the subset of Caltech Camera Traps that DomainBed uses.

Published: eccv_18_all_images_sm.tar.gz (all images in one folder) and eccv_18_annotations.tar.gz (five JSON files); or what
DomainBed's download script makes of them, terra_incognita/location_38/bird/*.jpg. Both are read. The rule is that of the
script (facebookresearch/DomainBed@b93c22a, domainbed/scripts/download.py): the five files are taken together; an image of
locations 38, 43, 46 and 100 belongs to each of ten categories that it has an annotation of.

Revisions: `domainbed` has the 24,330 images that the script gives now; `domainbed-24788` the 24,788 of the DomainBed
paper and of SWAD, MIRO and others, whose folders nobody offers any more: it checks folders that you have kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel, ValidationError

from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo, Entry, Published, PublishedFile
from datasets.folder import Folder, Layout, keys_of
from datasets.sources import missing

CLASSNAMES = ("bird", "bobcat", "cat", "coyote", "dog", "empty", "opossum", "rabbit", "raccoon", "squirrel")
DOMAINS = ("location_100", "location_38", "location_43", "location_46")
ANNOTATIONS = tuple(
    f"eccv_18_annotation_files/{part}_annotations.json"
    for part in ("cis_test", "cis_val", "train", "trans_test", "trans_val")
)
IMAGES: Final = "eccv_18_all_images_sm/"
ROOTS = ("terra_incognita", "")
_AT = "https://storage.googleapis.com/public-datasets-lila/caltechcameratraps/"
# Facts: URLs of DomainBed's download script; no checksums were found, and sizes (docs/datasets.md) in one repository alone.
FILES = (
    PublishedFile(
        name="eccv_18_all_images_sm.tar.gz",
        urls=(f"{_AT}eccv_18_all_images_sm.tar.gz",),
        unpacked=("eccv_18_all_images_sm",),
    ),
    PublishedFile(
        name="eccv_18_annotations.tar.gz",
        urls=(f"{_AT}eccv_18_annotations.tar.gz",),
        unpacked=("eccv_18_annotation_files",),
    ),
)
# Facts: 24,330 in all, khanrc/miro issue 9. Its parts are as papers on domain generalization give them; no page that can be
# cited was found, but they add up to the total.
COUNTS = {"location_100": 4_741, "location_38": 9_736, "location_43": 3_970, "location_46": 5_883}
# Facts: khanrc/miro issue 9, the authors' answer.
COUNTS_24788 = {"location_100": 4_879, "location_38": 9_767, "location_43": 4_020, "location_46": 6_122}


class _Category(BaseModel):
    id: int
    name: str


class _Image(BaseModel):
    id: str
    file_name: str
    location: int | str


class _Annotation(BaseModel):
    image_id: str
    category_id: int


class _Annotations(BaseModel):
    """What is used of a file of annotations."""

    categories: list[_Category]
    images: list[_Image]
    annotations: list[_Annotation]


class TerraIncognita(Folder):
    """DomainBed's folders, or the authors' archives by its rule."""

    def __init__(self, revision: str, counts: Mapping[str, int], notes: Sequence[str]) -> None:
        info = DatasetInfo(
            name="terra_incognita",
            title="Terra Incognita (DomainBed)",
            revision=revision,
            domains=DOMAINS,
            classnames=CLASSNAMES,
            templates=("a photo of a {}.",),
            source="https://lila.science/datasets/caltech-camera-traps (CCT20 benchmark subset)",
            license="Community Data License Agreement, permissive variant",
            citation="Beery et al.: Recognition in Terra Incognita, ECCV 2018, arXiv:1807.04975",
            counts={domain: {"train": counts[domain]} for domain in DOMAINS},
            notes=tuple(notes),
        )
        layout = Layout({domain: domain for domain in DOMAINS}, CLASSNAMES, all_in="train", roots=ROOTS[:1])
        super().__init__(info, layout, FILES)
        self.roots = (*self.roots, "eccv_18_all_images_sm", "eccv_18_annotation_files")

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        """As `Dataset.entries`: from DomainBed's folders where there are any, else from the authors' archives."""
        prepared = source is None or any(source.below(f"{root}/{domain}".lstrip("/")) for root in ROOTS)
        if source is None or prepared or split not in self.splits(domain):
            return super().entries(domain, split, source)
        found = _by_category(source)[domain]
        images = sorted((label, file) for label, name in enumerate(CLASSNAMES) for file in found.get(name, ()))
        if absent := [name for _, name in images if not source.exists(IMAGES + name)]:
            raise FileNotFoundError(
                f"{len(absent)} of {len(images)} images of {domain} do not exist; {missing(source, IMAGES + absent[0])}"
            )
        keys = keys_of([f"{CLASSNAMES[label]}/{name}" for label, name in images])
        return [Entry(key, label, IMAGES + name) for key, (label, name) in zip(keys, images, strict=True)]


def _by_category(files: Published) -> Mapping[str, Mapping[str, set[str]]]:
    """Domain -> category -> names of its images, by the rule of DomainBed's script."""
    if absent := [name for name in ANNOTATIONS if not files.exists(name)]:
        raise FileNotFoundError(
            f"{missing(files, absent[0])}; or give the folders that DomainBed makes, terra_incognita/location_38/bird/*.jpg"
        )
    parts = [_parsed(files.read(name), files.where(name)) for name in ANNOTATIONS]
    names = {category.id: category.name for part in parts for category in part.categories}
    categories: dict[str, set[str]] = {}
    for annotation in (annotation for part in parts for annotation in part.annotations):
        categories.setdefault(annotation.image_id, set()).add(names.get(annotation.category_id, ""))
    found: dict[str, dict[str, set[str]]] = {domain: {} for domain in DOMAINS}
    for image in (image for part in parts for image in part.images):
        if (domain := f"location_{image.location}") in found:
            for name in categories.get(image.id, set()) & set(CLASSNAMES):
                found[domain].setdefault(name, set()).add(image.file_name)
    return found


def _parsed(data: bytes, where: str) -> _Annotations:
    try:
        return _Annotations.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise DatasetError(f"{where}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from None


_BOTH = (
    "Two sizes are in use under one name: 24,788 images in the DomainBed paper, 24,330 from its download script now; "
    "numbers on them differ. An image with annotations of two categories is in both.",
)
DATASET: Dataset = TerraIncognita("domainbed", COUNTS, _BOTH)
REVISIONS: dict[str, Dataset] = {
    "domainbed": DATASET,
    "domainbed-24788": TerraIncognita(
        "domainbed-24788", COUNTS_24788, (*_BOTH, "The folders of this revision can no longer be downloaded.")
    ),
}
