"""Facts of the downstream datasets: class names and prompts of CLIP, addresses and checksums of their files."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import torchvision.datasets as tv

import datasets
from datasets.clip_templates import CLIP_TEMPLATES
from datasets.downstream import Downstream
from datasets.lists import class_table
from tests.datasets.downstream_miniatures import NAMES


def test_class_names_and_prompts_are_those_of_clip() -> None:
    """Numbers and a hash of the lists in openai/CLIP@d05afc4 data/prompts.md; classes are matched by name, not by position."""
    info = {name: datasets.load(name).info for name in NAMES}
    assert {name: (len(i.classnames), len(i.templates)) for name, i in info.items()} == {
        "caltech101": (100, 34), "dtd": (47, 8), "eurosat": (10, 3), "fgvc_aircraft": (100, 2), "flowers102": (102, 1),
        "food101": (101, 1), "oxford_pets": (37, 1), "stanford_cars": (196, 8), "sun397": (397, 2), "ucf101": (101, 48),
    }  # fmt: skip
    text = "\n".join(template for name in sorted(CLIP_TEMPLATES) for template in CLIP_TEMPLATES[name])
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "c0a240e762ff06959b9cf3c2199b72ba701e3a51b070a04c829755e660e66ca4"
    )
    sun, ucf = class_table("sun397"), class_table("ucf101")
    assert sun["/j/jail_cell"] == "jail cell" and sun["/j/jail/indoor"] == "jail indoor"
    assert all(name.replace(" ", "") == key[2:].replace("/", "").replace("_", "") for key, name in sun.items())
    assert (
        ucf["HandstandPushups"] == "Hand Stand Pushups"
        and next(iter(ucf)) == "ApplyEyeMakeup"
        and list(ucf)[-1] == "YoYo"
    )
    assert class_table("eurosat")["HerbaceousVegetation"] == "brushland or shrubland"
    assert (
        class_table("caltech101")["Faces_easy"] == "centered face"
        and "centered face" not in info["caltech101"].classnames
    )
    assert list(class_table("oxford_pets"))[:2] == ["abyssinian", "american_bulldog"]
    assert any("1,794" in note for note in info["ucf101"].notes), "CLIP's own test images are others"


def test_facts_of_files_are_whole() -> None:
    for name in NAMES:
        for dataset in datasets.revisions(name).values():
            assert isinstance(dataset, Downstream) and dataset.info.domains == (name,)
            assert all(set(splits) == {"train", "test"} for splits in dataset.info.counts.values())
            for file in dataset.files:
                algorithm, _, digits = (file.checksum or "md5:" + "0" * 32).partition(":")
                assert len(digits) == {"md5": 32, "sha256": 64}[algorithm] and set(digits) <= set("0123456789abcdef")
    checksums: dict[str, Any] = {f.name: f.checksum for name in NAMES for f in datasets.load(name).files}
    assert checksums["food-101.tar.gz"] == f"md5:{tv.Food101._MD5}"
    assert checksums["dtd-r1.0.1.tar.gz"] == f"md5:{tv.DTD._MD5}"
    assert checksums["SUN397.tar.gz"] == f"md5:{tv.SUN397._DATASET_MD5}"
    assert {checksums[n] for n in ("images.tar.gz", "annotations.tar.gz")} == {
        f"md5:{m}" for _, m in tv.OxfordIIITPet._RESOURCES
    }
    assert all(checksums[n] == f"md5:{m}" for n, m in tv.Flowers102._file_dict.values())
    assert dataclasses.is_dataclass(datasets.load("dtd").info)
