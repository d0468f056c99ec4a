"""The three terms against a few-line reference, the limits, the captions it needs, and what it retrieves from a pool."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from datasets.shards import Prepared
from datasets.stream import Sample
from methods.arf import check_captions, retrieved
from orchestrator.prepare import pairs
from tests.bench import RECIPE, Bench, Killed, kill_at, make_method
from training import retrieval
from training.model import PretrainedClip
from training.retrieval import kept, nearest
from training.runtime import Runtime
from training.types import Batch


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pairs in two tars, as img2dataset lays them out."""
    folder = tmp_path_factory.mktemp("pool")
    generator = torch.Generator().manual_seed(0)
    for shard in range(2):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for i in range(20):
                pixels = torch.randint(0, 256, (40, 33, 3), dtype=torch.uint8, generator=generator).numpy()
                image = io.BytesIO()
                Image.fromarray(pixels).save(image, "JPEG")
                text = f"picture {i} of tar {shard}"
                for extension, data in (("jpg", image.getvalue()), ("txt", text.encode()), ("json", b"{}")):
                    member = tarfile.TarInfo(f"{shard:05d}{i:04d}.{extension}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return folder


def prepared_fit(bench: Bench, folder: Path, settings: dict[str, Any]) -> tuple[Any, Batch]:
    fit = bench.fit(make_method("arf", settings), folder)
    fit.method.setup(fit.model, fit.task)
    return fit, bench.normalise(next(fit.stream.batches(0, 1)))


def contrast(fit: Any, images: Tensor, texts: list[str]) -> Tensor:
    """Mean over both directions of the cross-entropy with the pair as the label, from whole texts."""
    visual = F.normalize(fit.model.visual(images), dim=1)
    tower = fit.method.text
    words = F.normalize(tower.clip.encode_text(tower.tokenizer(texts)), dim=1)
    logits = visual @ words.T * tower.clip.logit_scale.exp()
    own = torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 0.0), (0.0, 3.0)])
def test_the_loss_is_that_of_the_reference(
    bench: Bench, pool: Path, tmp_path: Path, weights: tuple[float, float]
) -> None:
    settings = {"caption_weight": weights[0], "retrieval_weight": weights[1], "pool": str(pool), "top_k": 4}
    fit, batch = prepared_fit(bench, tmp_path, settings)
    names, template = bench.prepared.classnames, bench.prepared.templates[1]
    fit.method.table = fit.method.table[1:]  # one template, so that nothing is drawn
    losses = fit.method.loss(fit.model, batch)
    expected = {"class": contrast(fit, batch.images, [template.format(names[k]) for k in batch.labels])}
    if weights[0]:
        expected["caption"] = contrast(fit, batch.images, [str(caption) for caption in batch.captions])
    if weights[1]:
        pairs = next(bench.pairs(pool).batches(fit.method.chosen, 8, 0))
        expected["retrieval"] = contrast(fit, pairs.images, [str(caption) for caption in pairs.captions])
    assert {*losses} == {"loss", "logit_scale", *expected}
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-5), name
    terms = zip(expected.values(), (1.0, *filter(None, weights)), strict=True)
    whole = torch.stack([weight * value for value, weight in terms]).sum()
    assert losses["loss"].item() == pytest.approx(whole.item(), rel=1e-5)


def test_without_its_terms_it_is_flyp_bit_for_bit(bench: Bench, pool: Path, tmp_path: Path) -> None:
    flyp = bench.run("flyp", tmp_path / "flyp").weights
    off = {"caption_weight": 0, "retrieval_weight": 0, "pool": str(pool)}
    arf = bench.run("arf", tmp_path / "arf", off).weights
    assert all(torch.equal(arf[name], flyp[name]) for name in flyp)
    for name, settings in {"caption": {}, "retrieval": {"caption_weight": 0, "pool": str(pool)}}.items():
        assert not torch.equal(bench.run("arf", tmp_path / name, settings).weights["head"], flyp["head"]), name


def test_with_a_pool_interrupted_and_resumed_equals_uninterrupted(bench: Bench, pool: Path, tmp_path: Path) -> None:
    whole = bench.run("arf", tmp_path / "whole", settings := {"pool": str(pool), "top_k": 5}).weights
    with pytest.raises(Killed):
        kill_at(bench.fit(make_method("arf", settings), tmp_path / "cut"), 7).run()
    resumed = bench.fit(make_method("arf", settings), tmp_path / "cut").run().weights
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_it_learns_to_classify(bench: Bench, pool: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"num_steps": 40})
    trace = bench.run("arf", tmp_path, {"pool": str(pool), "retrieval_weight": 0.2}, recipe=recipe).trace
    assert trace[-1].nll < trace[0].nll


def test_images_without_captions_fail_before_training_with_the_command(bench: Bench, tmp_path: Path) -> None:
    first = bench.train[0]
    bench.train[0] = Sample(first.key, first.label, first.path, first.offset, first.size)
    with pytest.raises(ValueError, match=rf"1 of {len(bench.train)} have none; .* prepare captions --dataset"):
        bench.run("arf", tmp_path)
    bench.run("arf", tmp_path, {"caption_weight": 0})  # needs none
    for bad in ([], [None], ["a", " "]):
        with pytest.raises(ValueError, match="caption of every training image"):
            check_captions(bad)


@pytest.mark.parametrize("k", [1, 7, 50])
def test_the_nearest_are_those_of_brute_force(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "QUERIES", 4)
    monkeypatch.setattr(retrieval, "KEYS", 9)
    queries, keys = F.normalize(torch.randn(10, 6), dim=1), F.normalize(torch.randn(40, 6), dim=1)
    expected = (queries @ keys.T).argsort(dim=1, descending=True)[:, :k]
    assert torch.equal(nearest(queries, keys, k), expected)
    assert retrieved(queries, keys, k) == sorted({int(place) for place in expected.flatten()})


@pytest.mark.parametrize("query", ["class", "image"])
@pytest.mark.parametrize("match", ["image", "text"])
def test_what_is_retrieved_is_nearest_in_the_pool(
    bench: Bench, pool: Path, tmp_path: Path, query: str, match: Any
) -> None:
    fit, _ = prepared_fit(bench, tmp_path, {"pool": str(pool), "top_k": 3, "query": query, "match": match})
    found = pairs.open_pool(pool)
    model, text = bench.model(), bench.clip.text
    with torch.no_grad():
        encode = lambda some: model.encode_image(bench.normalise(next(iter(bench.pass_over(some)))).images)  # noqa: E731
        texts = text.encode(text.tokenizer([str(sample.caption) for sample in found]))
        keys, queries = {"image": encode(found), "text": texts}, {"class": bench.head.T, "image": encode(bench.train)}
    features = bench.pairs(pool).features(match)
    torch.testing.assert_close(features, keys[match], rtol=1e-4, atol=1e-5)
    best = (queries[query] @ features.T).argsort(dim=1, descending=True)[:, :3]
    assert fit.method.chosen == sorted({int(place) for place in best.flatten()})


def test_a_prepared_dataset_is_a_pool_of_its_captioned_training_images(bench: Bench) -> None:
    found = pairs.open_pool(Path(bench.prepared.root))
    assert len(found) == 90
    assert {sample.key.split("/")[0] for sample in found} == {"disc", "box", "ring"}
    assert all(sample.caption and "train" in sample.key for sample in found)


def test_workers_get_the_parts_of_one_batch_of_pairs(bench: Bench, pool: Path) -> None:
    chosen = list(range(0, 40, 3))
    whole = bench.pairs(pool).batches(chosen, 8, 3)
    parts = []
    for rank in (0, 1):
        bench.runtime = Runtime(rank=rank, world_size=2)
        parts.append(bench.pairs(pool).batches(chosen, 8, 3))
    for _ in range(3):
        batch, one, two = map(next, (whole, *parts))
        assert torch.equal(batch.images, torch.cat([one.images, two.images]))
        assert batch.captions == one.captions + two.captions


def test_features_are_kept_by_content(bench: Bench, pool: Path, tmp_path: Path) -> None:
    made = bench.pairs(pool)
    object.__setattr__(made, "cache", tmp_path / "cache")
    first = {side: made.features(side) for side in ("image", "text")}
    assert sorted(path.name.split("-")[1] for path in (tmp_path / "cache").iterdir()) == ["image", "text"]
    object.__setattr__(made, "clip", None)  # nothing is computed again
    assert all(torch.equal(made.features(side), rows) for side, rows in first.items())
    assert torch.allclose(first["text"].norm(dim=1), torch.ones(40), atol=1e-5)
    path = next((tmp_path / "cache").glob("pool-text-*"))
    path.write_bytes(b"damaged")
    with pytest.raises(AttributeError):  # it would have to be computed
        made.features("text")
    assert torch.equal(kept(path, Runtime(), lambda: [torch.ones(2, 3)]), torch.ones(2, 3))
    assert torch.equal(kept(path, Runtime(), lambda: []), torch.ones(2, 3))


def test_bad_settings_and_bad_pools_are_refused(tmp_path: Path) -> None:
    for bad in ({"caption_weight": -1}, {"top_k": 0}, {"query": "caption"}, {"match": "both"}, {"pools": "x"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            make_method("arf", bad)
    with pytest.raises(FileNotFoundError, match="a pool is a prepared dataset or a folder of tars"):
        pairs.open_pool(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"holds no \.tar"):
        pairs.open_pool(tmp_path)
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("lonely.jpg"), io.BytesIO())
    with pytest.raises(ValueError, match=r"0\.tar: sample 'lonely' has no text: expected a member lonely\.txt"):
        pairs.open_pool(tmp_path)
