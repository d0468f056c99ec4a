"""The 128-pixel subset of PACS from its archive: real images, read in place and never copied into the checkout."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

import datasets
from datasets.shards import Prepared, index_shard, write_prepared

ARCHIVE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "pacs-128.tar"
pytestmark = pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"PACS is not at {ARCHIVE}")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory) -> Prepared:
    return write_prepared(datasets.load("pacs@pacs-128"), tmp_path_factory.mktemp("data") / "pacs@pacs-128", ARCHIVE)


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_per_domain_and_class_are_those_of_the_list(pacs, split):
    with tarfile.open(ARCHIVE) as archive:
        lines = archive.extractfile(f"pacs/{split}.txt").read().decode().splitlines()
    listed = Counter((line.split("/")[0], int(line.split()[1])) for line in lines)
    found = {(d, k): n for d, splits in pacs.counts.items() for k, n in enumerate(splits[split])}
    assert found == listed
    keys = [
        f"{domain}/{sample.key.replace('-', '/', 1)}.jpg {sample.label}"
        for domain in pacs.domains
        for shard in pacs.select(domain, split)
        for sample in index_shard(pacs.path(shard))
    ]
    assert sorted(keys) == sorted(lines)


def test_all_3320_images_of_four_domains_are_there_as_published(pacs):
    assert pacs.domains == ("art_painting", "cartoon", "photo", "sketch") and len(pacs.classnames) == 7
    assert sum(shard.count for shard in pacs.shards) == 3320
    with tarfile.open(ARCHIVE) as archive:
        for domain in pacs.domains:
            shard = pacs.select(domain, "test")[0]
            data = pacs.path(shard).read_bytes()
            for sample in index_shard(pacs.path(shard))[::20]:
                image = data[sample.offset : sample.offset + sample.size]
                name = f"pacs/{domain}/{sample.key.replace('-', '/', 1)}.jpg"
                assert archive.extractfile(name).read() == image
                decoded = Image.open(io.BytesIO(image)).convert("RGB")
                assert min(decoded.size) == 128
