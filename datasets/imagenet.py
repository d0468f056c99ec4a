"""`imagenet`: ImageNet (ILSVRC 2012) and the shifts of it that are tested on: V2, R, A, Sketch, ObjectNet.

Only the domains that are asked for need their files (`--domains imagenet v2`). In the folder for `--from`, each domain as its
authors publish it or unpacked, whichever is there:

    imagenet   train  ILSVRC2012_img_train.tar, a tar of 1,000 tars, read in place; or train/<wnid>/<image>
               test   the 50,000 validation images: val/<wnid>/<image>, as most clusters have them; or ILSVRC2012_img_val.tar
                      or val/<image>, with the labels in ILSVRC2012_devkit_t12.tar.gz (or its folder) or in
                      imagenet_2012_validation_synset_labels.txt (a wnid a line, in the order of the images' numbers)
    v2                imagenetv2-matched-frequency.tar.gz, which is a plain tar in spite of its name; or its folder
                      imagenetv2-matched-frequency-format-val/ (or imagenetv2-matched-frequency/)
    r, a              imagenet-r.tar, imagenet-a.tar; or the folders imagenet-r/, imagenet-a/
    sketch            ImageNet-Sketch.zip; or the folder sketch/
    objectnet         the folder objectnet-1.0/, or a zip of it called objectnet-1.0.zip. Its authors' zip is encrypted with a
                      password: unpack it with the one they state

A tar for each class (train/<wnid>.tar) is not accepted: pack them into ILSVRC2012_img_train.tar or unpack them.

Facts to know:
- V2's folders are labels, 0 to 999. ImageFolder sorts them as text and gives every class but a few a wrong label.
- R and A have 200 classes each, not the same ones (86 in common). Logits of the other classes are left out before the softmax
  (`groups`), as in imagenet-testbed and WiSE-FT; TPGM's paper did without that.
- ObjectNet shares 113 of its 313 classes with ImageNet; some are several of ImageNet's (chair: barber chair, folding chair,
  rocking chair), of which the best counts. The red border is cut off: 2 pixels on each side, as WiSE-FT does
  (src/datasets/objectnet.py@58b7a4b), and the image is stored as PNG again.
- Class names and the 80 templates are OpenAI's. Two names are there twice: missile (657, 744) and sunglasses (836, 837).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo, Entry, Published
from datasets.decoding import open_image
from datasets.folder import extension, keys_of
from datasets.imagenet_facts import A_LABELS, CLASSNAMES, COUNTS, FILES, OBJECTNET_FOLDERS, R_LABELS, WNIDS
from datasets.images import BadImageError
from datasets.lists import mat_variables
from datasets.sources import missing
from datasets.tar_index import IMAGE_EXTENSIONS
from datasets.templates import OPENAI_IMAGENET_TEMPLATES

DEVKIT = "ILSVRC2012_devkit_t12/data"
SYNSET_LABELS = "imagenet_2012_validation_synset_labels.txt"
OBJECTNET = "objectnet-1.0/images"
_FOLDERS: dict[tuple[str, str], tuple[str, ...]] = {
    ("imagenet", "train"): ("train",),
    ("imagenet", "test"): ("val",),
    ("v2", "test"): ("imagenetv2-matched-frequency-format-val", "imagenetv2-matched-frequency"),
    ("r", "test"): ("imagenet-r",),
    ("a", "test"): ("imagenet-a",),
    ("sketch", "test"): ("sketch",),
    ("objectnet", "test"): (OBJECTNET,),
}
_BORDER = 2
_MAX_NAMED = 5


class ImageNet(Dataset):
    """ImageNet and its shifts, one domain each."""

    info = DatasetInfo(
        name="imagenet",
        title="ImageNet and its shifts",
        revision="ilsvrc2012",
        domains=tuple(COUNTS),
        optional_domains=("objectnet",),
        classnames=CLASSNAMES,
        templates=OPENAI_IMAGENET_TEMPLATES,
        source=(
            "https://image-net.org (an account is needed), github.com/modestyachts/ImageNetV2, hendrycks/imagenet-r, "
            "hendrycks/natural-adv-examples, HaohanWang/ImageNet-Sketch, https://objectnet.dev"
        ),
        license=(
            "ImageNet: non-commercial research and education only; V2, R, A and Sketch: see their repositories, images belong to "
            "their authors; ObjectNet: CC BY 4.0 with the terms that no parameter is tuned on it and that images are shown "
            "with their red border"
        ),
        citation=(
            "Russakovsky et al., IJCV 2015, arXiv:1409.0575; V2: Recht et al., ICML 2019, arXiv:1902.10811; R: Hendrycks et al., "
            "ICCV 2021, arXiv:2006.16241; A: Hendrycks et al., CVPR 2021, arXiv:1907.07174; Sketch: Wang et al., NeurIPS 2019, "
            "arXiv:1905.13549; ObjectNet: Barbu et al., NeurIPS 2019"
        ),
        counts=COUNTS,
        class_counts={"imagenet": {"test": (50,) * 1000}, "v2": {"test": (10,) * 1000}},
        groups={
            "r": tuple((label,) for label in R_LABELS),
            "a": tuple((label,) for label in A_LABELS),
            "objectnet": tuple(OBJECTNET_FOLDERS.values()),
        },
        notes=(
            "The test split of domain imagenet are the 50,000 validation images; the real test labels are not public.",
            "V2 is matched-frequency (b-33), whose folder names are labels.",
            "R and A are scored over their own 200 classes, ObjectNet over 113.",
            "Sketch has 50,889 images in its public zip, though its readme says 50,000.",
            "objectnet is left out unless named: the average over shifts has four sets in Lipsum-FT and TPGM, five with it in "
            "WiSE-FT, FLYP and CAR-FT. Its terms forbid tuning on it: use it as a target only.",
            "Two class names occur twice (missile, sunglasses), as in OpenAI's list.",
        ),
    )
    files = FILES
    roots = tuple(dict.fromkeys(PurePosixPath(folder).parts[0] for folders in _FOLDERS.values() for folder in folders))

    def entries(self, domain: str, split: str, source: Published | None) -> Sequence[Entry]:
        """The images of one split, sorted by path; a key is '<class folder>-<image>'.

        Raises FileNotFoundError naming what is missing, DatasetError for files that do not fit.
        """
        if source is None:
            raise FileNotFoundError(
                f"dataset imagenet needs its published files: give --from FOLDER (from {self.info.source})"
            )
        if (domain, split) not in _FOLDERS:
            raise DatasetError(
                f"dataset imagenet has no {domain}/{split}, only {', '.join('/'.join(p) for p in _FOLDERS)}"
            )
        folder, paths = _images(source, _FOLDERS[domain, split])
        if domain == "imagenet" and split == "test" and not any("/" in path for path in paths):
            labelled = _by_number(paths, source)
        else:
            labelled = _by_folder(paths, _folders_of(domain), source.where(folder), others=domain == "objectnet")
        keys = keys_of([path for path, _ in labelled])
        # Sizes keep shards of large images (ObjectNet's) small. The 1.3 million of train are small, and asking for each of
        # theirs takes minutes on a network file system.
        size = source.size if split == "test" else lambda path: None
        return [
            Entry(key, label, f"{folder}/{path}", size(f"{folder}/{path}"))
            for key, (path, label) in zip(keys, labelled, strict=True)
        ]

    def read(self, entry: Entry, source: Published | None) -> tuple[bytes, str]:
        """As `Dataset.read`; ObjectNet's images without their border. Raises BadImageError if one cannot be decoded."""
        data, suffix = super().read(entry, source)
        return (_without_border(data), "png") if entry.path.startswith(f"{OBJECTNET}/") else (data, suffix)


def _folders_of(domain: str) -> Mapping[str, int]:
    """Class folder -> label."""
    if domain == "v2":
        return {str(label): label for label in range(len(WNIDS))}
    if domain == "objectnet":
        return {folder: labels[0] for folder, labels in OBJECTNET_FOLDERS.items()}
    known = {"r": R_LABELS, "a": A_LABELS}.get(domain, range(len(WNIDS)))
    return {WNIDS[label]: label for label in known}


def _images(source: Published, places: Sequence[str]) -> tuple[str, list[str]]:
    """The folder that is there, and its images by their paths in it. Hidden files and a README at its top are no images."""
    for folder in places:
        paths = [path.removeprefix(f"{folder}/") for path in source.below(folder)]
        paths = [path for path in paths if not any(part.startswith(".") for part in path.split("/"))]
        if found := [path for path in paths if "/" in path or extension(path) in IMAGE_EXTENSIONS]:
            return folder, found
    raise FileNotFoundError(f"no images below {places[0]}/: {missing(source, places[0])}")


def _by_folder(paths: Sequence[str], labels: Mapping[str, int], place: str, others: bool) -> list[tuple[str, int]]:
    """(path, label) by the folder that an image lies in; folders of `others` than these classes are left out, or refused.

    Raises DatasetError for files that are no image of a class.
    """
    problems, found = [], []
    for path in paths:
        folder, _, name = path.partition("/")
        if not name or "/" in name or extension(name) not in IMAGE_EXTENSIONS:
            problems.append(f"{path}: expected <class>/<image>")
        elif folder in labels:
            found.append((path, labels[folder]))
        elif not others:
            problems.append(f"{path}: folder {folder!r} is none of the {len(labels)} classes")
    if problems:
        more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
        raise DatasetError(f"{place}: {'; '.join(problems[:_MAX_NAMED])}{more}")
    return found


def _by_number(paths: Sequence[str], source: Published) -> list[tuple[str, int]]:
    """(path, label) of the validation images as published: flat, the n-th line of the labels is that of image n."""
    labels = _validation_labels(source)
    found = []
    for path in paths:
        match = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", path)
        if match is None or not 1 <= int(match[1]) <= len(labels):
            raise DatasetError(
                f"{source.where('val')}: {path}: expected ILSVRC2012_val_<number>.JPEG with numbers from 1 to {len(labels):,}, "
                "the number of labels"
            )
        found.append((path, labels[int(match[1]) - 1]))
    return found


def _validation_labels(source: Published) -> list[int]:
    if source.exists(SYNSET_LABELS):
        name, ids = SYNSET_LABELS, {wnid: label for label, wnid in enumerate(WNIDS)}
    elif source.exists(f"{DEVKIT}/ILSVRC2012_validation_ground_truth.txt"):
        name, ids = f"{DEVKIT}/ILSVRC2012_validation_ground_truth.txt", _devkit_ids(source)
    else:
        raise FileNotFoundError(
            f"the labels of the validation images: {missing(source, DEVKIT)}; or put {SYNSET_LABELS} there "
            "(tensorflow/models, research/slim/datasets)"
        )
    lines = source.read(name).decode("utf-8", "replace").split()
    if bad := next((n for n, line in enumerate(lines, start=1) if line not in ids), None):
        raise DatasetError(f"{source.where(name)}:{bad}: {lines[bad - 1]!r} is no class")
    return [ids[line] for line in lines]


def _devkit_ids(source: Published) -> dict[str, int]:
    """ILSVRC2012_ID, which is not the label, as text -> label. The first 1,000 rows of meta.mat are the classes."""
    name = f"{DEVKIT}/meta.mat"
    (rows,) = mat_variables(source, name, "synsets")
    try:
        ids = {str(np.squeeze(row["WNID"])): str(int(np.squeeze(row["ILSVRC2012_ID"]))) for row in rows}
    except (ValueError, IndexError, TypeError) as error:
        raise DatasetError(f"{source.where(name)}: no synsets with WNID and ILSVRC2012_ID in it: {error}") from None
    if absent := [wnid for wnid in WNIDS if wnid not in ids]:
        raise DatasetError(f"{source.where(name)}: class {absent[0]} is not in it")
    return {ids[wnid]: label for label, wnid in enumerate(WNIDS)}


def _without_border(data: bytes) -> bytes:
    try:
        image = open_image(data)
        width, height = image.size
        if min(width, height) <= 2 * _BORDER:
            raise BadImageError(f"has {width} x {height} pixels, too few to cut {_BORDER} off on each side")
        buffer = io.BytesIO()
        # Lossless whatever the level; this one is several times faster, and most users reduce the images next.
        image.crop((_BORDER, _BORDER, width - _BORDER, height - _BORDER)).save(buffer, "PNG", compress_level=1)
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImageError(f"cannot be decoded: {type(error).__name__}") from None
    return buffer.getvalue()


DATASET: Dataset = ImageNet()
