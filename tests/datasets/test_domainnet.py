"""DomainNet's facts, its layout on a tiny copy, and the templates."""

from __future__ import annotations

import hashlib

import pytest
from open_clip import zero_shot_metadata

from datasets.domainnet import ALL_DOMAINS, CLASSNAMES, COUNTS, DOMAINS, DomainNet
from datasets.templates import OPENAI_IMAGENET_TEMPLATES
from tests.datasets.fakes import picture


def test_class_names_are_the_official_ones_in_order():
    assert len(CLASSNAMES) == len(set(CLASSNAMES)) == 345
    assert sum("_" in name for name in CLASSNAMES) == 51
    assert CLASSNAMES[327] == "t-shirt"
    assert (CLASSNAMES[0], CLASSNAMES[1], CLASSNAMES[344]) == ("aircraft_carrier", "airplane", "zigzag")
    digest = hashlib.sha256("\n".join(CLASSNAMES).encode()).hexdigest()
    assert digest == "ba29ce5a210ff5ac95e92d3ec26faac84f18000220a031207f62f28cefb9d07c", (
        "the published list, in its order"
    )
    assert {"The_Eiffel_Tower", "The_Great_Wall_of_China", "The_Mona_Lisa", "teddy-bear"} <= set(CLASSNAMES)


def test_counts_are_those_of_the_cleaned_lists():
    assert sum(splits["train"] for splits in COUNTS.values()) == 409_832
    assert sum(splits["test"] for splits in COUNTS.values()) == 176_743
    assert DOMAINS == ("real", "painting", "clipart", "infograph", "sketch")
    assert set(ALL_DOMAINS) - set(DOMAINS) == {"quickdraw"}
    assert DomainNet(ALL_DOMAINS).info.counts["quickdraw"] == {"train": 120_750, "test": 51_750}


def test_published_files_are_read_as_they_lie(tmp_path):
    for name in ("aircraft_carrier/sketch_001_000001.jpg", "t-shirt/sketch_328_000002.jpg", "zebra/unlisted.jpg"):
        (tmp_path / "sketch" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sketch" / name).write_bytes(picture(len(name)))
    (tmp_path / "sketch_train.txt").write_text(
        "sketch/t-shirt/sketch_328_000002.jpg 327\nsketch/aircraft_carrier/sketch_001_000001.jpg 0\n"
    )
    samples = list(DomainNet().samples("sketch", "train", tmp_path))
    assert [(s.key, s.label) for s in samples] == [
        ("t-shirt-sketch_328_000002", 327),
        ("aircraft_carrier-sketch_001_000001", 0),
    ]
    with pytest.raises(
        FileNotFoundError, match=r"sketch_test\.txt does not exist; get it from https://ai\.bu\.edu/DomainNet/"
    ):
        list(DomainNet().samples("sketch", "test", tmp_path))


def test_templates_are_openais_eighty_in_order():
    assert len(OPENAI_IMAGENET_TEMPLATES) == len(set(OPENAI_IMAGENET_TEMPLATES)) == 80
    assert [t("{}") for t in zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES] == list(OPENAI_IMAGENET_TEMPLATES)
