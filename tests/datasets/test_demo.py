"""The demo data set renders the same bytes everywhere, and its shipped model is what the documentation says it is."""

import io
import json
import random
from itertools import islice

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from datasets import demo_pretrain, demo_web
from datasets.base import RawSample
from datasets.demo import COUNTS, DATASET, image_seed
from datasets.demo_batches import normalise, tokenise, with_stray_words
from datasets.demo_domains import draw, render
from datasets.demo_scene import COLOURS, DOMAINS, NATURAL, caption
from datasets.demo_shapes import BUILDERS, CLASSNAMES

INFO = DATASET.info
CPU = torch.device("cpu")


def samples(domain, split):
    """The samples of a split as they go into shards."""
    for entry in DATASET.entries(domain, split, None):
        yield RawSample(entry.key, *DATASET.read(entry, None), entry.label, entry.caption)


def first(domain, split, count):
    """The first samples of a split."""
    return list(islice(samples(domain, split), count))


@pytest.fixture(scope="module")
def clip():
    open_clip.add_model_config(demo_pretrain.CONFIG)
    return open_clip.create_model("demo_vit", pretrained=str(demo_pretrain.WEIGHTS)).eval()


@pytest.mark.parametrize("domain", DOMAINS)
def test_same_seed_gives_same_bytes(domain):
    again = first(domain, "train", 25)
    assert first(domain, "train", 25) == again
    assert len({sample.image for sample in again}) == 25


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_class_renders_in_every_domain(domain):
    pictures = [render(label, domain, seed=7) for label in range(20)]
    assert {(picture.size, picture.mode) for picture in pictures} == {((64, 64), "RGB")}
    assert min(np.asarray(picture).std() for picture in pictures) > 5  # none is blank
    assert len({picture.tobytes() for picture in pictures}) == 20


def test_seed_and_domain_change_the_picture():
    pictures = {render(3, domain, seed).tobytes() for domain in DOMAINS for seed in range(4)}
    assert len(pictures) == 4 * len(DOMAINS)


def test_only_photographs_know_snapshots():
    same = [domain for domain in DOMAINS if render(5, domain, 1) == render(5, domain, 1, snapshot=False)]
    assert same == [domain for domain in DOMAINS if domain != "real"]


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="demo has no split real/val; domains: real, painting"):
        DATASET.entries("real", "val", None)


def test_metadata():
    assert len(INFO.classnames) == 20 and len(INFO.domains) == 5
    assert set(NATURAL) == set(CLASSNAMES) == {builder.__name__ for builder in BUILDERS}
    assert DATASET.generated


def test_counts_are_what_samples_yields():
    found = list(samples("clipart", "test"))
    assert len(found) == INFO.counts["clipart"]["test"] == COUNTS["test"]
    assert len({sample.key for sample in found}) == len(found)
    assert np.bincount([sample.label for sample in found]).tolist() == [30] * 20
    assert all(INFO.classnames[sample.label] in sample.caption for sample in found)
    assert not any(set("./") & set(sample.key) for sample in found)
    assert Image.open(io.BytesIO(found[0].image)).format == found[0].extension.replace("jpg", "JPEG")


def test_train_and_test_share_no_picture():
    train, test = ({sample.image for sample in samples("infograph", split)} for split in ("train", "test"))
    assert len(train) == 1200 and len(test) == 600 and not train & test


def test_no_two_pictures_share_a_seed():
    splits = {**COUNTS, "pretrain": 10_000, "held-out": 500}
    seeds = [
        image_seed(domain, split, k) for domain in DOMAINS for split, count in splits.items() for k in range(count)
    ]
    assert len(set(seeds)) == len(seeds)


def test_things_in_photographs_mostly_have_their_natural_colour():
    def share(domain):
        scenes = [draw(CLASSNAMES.index("apple"), domain, seed, snapshot=True)[1] for seed in range(100)]
        return sum(scene.colour in NATURAL["apple"][0] for scene in scenes) / 100

    assert share("real") > 0.5 > 0.35 > share("clipart")


@pytest.fixture(scope="module")
def pool():
    return demo_web.make_pool(600, seed=1)


def test_captions_fit_the_text_encoder(pool, clip):
    ids = tokenise(pool, "demo_vit")
    assert ids.shape == (600, demo_web.CAPTIONS_PER_IMAGE, clip.context_length)
    roomy = open_clip.SimpleTokenizer(context_length=64)
    lengths = roomy([text for row in pool.captions for text in row]).argmax(-1) + 1
    assert 8 < lengths.max() <= clip.context_length


def test_pretraining_captions_contain_the_zeroshot_prompts(pool):
    seen = {text for row in pool.captions for text in row}
    for template in INFO.templates:
        assert any(template.format(name) in seen for name in CLASSNAMES), template


def test_photographs_have_the_most_careless_captions(pool):
    named = np.array([CLASSNAMES[label] in row[0] for label, row in zip(pool.labels, pool.captions, strict=True)])
    share = [named[pool.domains == k].mean() for k in range(len(DOMAINS))]
    assert share[0] == min(share) < 0.75 < 0.85 < min(share[1:])


def test_stray_words_keep_the_text_whole():
    text = torch.tensor([49406, 5, 6, 49407, 0, 0, 0, 0])
    for seed in range(20):
        noisy = with_stray_words(text, np.random.default_rng(seed))
        end = int(noisy.argmax())
        assert noisy.shape == text.shape and noisy[0] == 49406
        assert noisy[end - 2 : end + 1].tolist() == [5, 6, 49407] and 4 <= end <= 7


def test_shipped_weights_are_small_and_whole(clip):
    assert demo_pretrain.WEIGHTS.stat().st_size <= 10e6
    stored = load_file(demo_pretrain.WEIGHTS)
    assert stored.keys() == clip.state_dict().keys()
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert clip.logit_scale.exp().item() <= 100.01


def test_shipped_weights_are_the_end_of_the_logged_run():
    lines = [json.loads(line) for line in demo_pretrain.WEIGHTS.with_suffix(".log.jsonl").read_text().splitlines()]
    assert 20 <= len(lines) <= 200
    assert lines[-1]["step"] == lines[0]["settings"]["steps"]
    assert min(lines[-1]["zeroshot"].values()) >= 0.40


@pytest.mark.parametrize("domain", DOMAINS)
def test_zeroshot_accuracy_of_the_shipped_model(clip, domain):
    samples = first(domain, "test", 200)
    images = np.stack([np.asarray(Image.open(io.BytesIO(sample.image)))[4:60, 4:60] for sample in samples])
    head = demo_pretrain.zeroshot_head(clip, CPU)
    with torch.no_grad():
        logits = clip.encode_image(normalise(torch.from_numpy(images), 48, CPU), normalize=True) @ head.T
    labels = torch.tensor([sample.label for sample in samples])
    assert (logits.argmax(1) == labels).float().mean() >= 0.35


def test_resumed_pretraining_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    settings = demo_pretrain.Settings(steps=4, seed=3, pool_size=40, batch_size=8, warmup_steps=1)

    def run(name):
        out = tmp_path / f"{name}.safetensors"
        demo_pretrain.pretrain(settings, out, tmp_path / name, CPU, save_every=2, watched=20)
        return out

    whole = run("whole")
    steps, train_step = [], demo_pretrain.train_step

    def interrupted(*args):
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return train_step(*args)

    monkeypatch.setattr(demo_pretrain, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("broken")
    resumed = run("broken")
    assert len(steps) == 4 + 2  # three done, one refused, then the two after the last save
    assert resumed.read_bytes() == whole.read_bytes()
    assert resumed.with_suffix(".log.jsonl").read_text() == whole.with_suffix(".log.jsonl").read_text()


def test_changed_drawings_do_not_reuse_the_cache(monkeypatch):
    settings = demo_pretrain.Settings(steps=4, seed=3, pool_size=40)
    before = settings.fingerprint()
    assert demo_pretrain.Settings(steps=4, seed=3, pool_size=40).fingerprint() == before
    monkeypatch.setitem(demo_web.OTHER_WORD, "apple", "pear")
    monkeypatch.setattr(demo_web, "VAGUE", ("novelty",))
    assert settings.fingerprint() != before


def test_caption_names_no_colour_in_a_sketch():
    scenes = [draw(k % 20, "sketch", k, snapshot=False)[1] for k in range(60)]
    words = {word for k, scene in enumerate(scenes) for word in caption(random.Random(k), scene).split()}
    assert not words & set(COLOURS)
