"""`prepare captions`: from a file and from a tiny CoCa, every key that does not fit named, and the command itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from typer.testing import CliRunner

from datasets import DatasetError
from datasets.shards import Prepared, open_prepared, write_prepared
from datasets.stream import samples
from orchestrator.bad_input import BadInputError
from orchestrator.cli import app
from orchestrator.prepare.captioner import CoCaCaptioner, greedy_captions
from orchestrator.prepare.captions import find_prepared, from_jsonl, write_captions
from tests.datasets.fakes import COUNTS, Fake

QUIET = Console(quiet=True)
TINY_COCA = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16,
        "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1,
        "embed_cls": True, "output_tokens": True,
    },
    "multimodal_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1, "attn_pooler_heads": 2},
    "custom_text": True,
}  # fmt: skip


@pytest.fixture
def plain(tmp_path: Path) -> Prepared:
    return write_prepared(Fake(), tmp_path / "data/fake", None)


@pytest.fixture
def coca(tmp_path: Path) -> Path:
    path = tmp_path / "tiny_coca.json"
    path.write_text(json.dumps(TINY_COCA))
    return path


def talkative(coca: Path, **options: Path) -> CoCaCaptioner:
    """open_clip leaves some weights of a CoCa without initial values, and the others say the same of every image."""
    captioner = CoCaCaptioner("tiny_coca", "random:0", coca, **options)
    generator = torch.Generator().manual_seed(0)
    for parameter in captioner.model.parameters():
        if parameter.ndim > 1:
            parameter.data = torch.randn(parameter.shape, generator=generator)
    return captioner


def rows(prepared: Prepared) -> list[dict[str, str]]:
    train = [sample for domain in prepared.domains for sample in samples(prepared, domain, "train")]
    return [{"key": sample.key, "caption": f"picture {i}: {sample.key}"} for i, sample in enumerate(train)]


def jsonl(path: Path, content: list[dict[str, str]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in content))
    return path


def test_captions_of_a_file_go_into_new_shards_and_nothing_else_changes(plain: Prepared, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "mine.jsonl", rows(plain)[::-1])
    made = write_captions(plain, tmp_path / "new/fake", "mine", from_jsonl(path), console=QUIET)
    assert made == open_prepared(tmp_path / "new/fake")
    assert (made.name, made.classnames, made.counts) == (plain.name, plain.classnames, plain.counts)
    assert made.identity != plain.identity
    assert made.source == f"tests; sha256:{plain.identity} with captions from mine"
    captions = {row["key"]: row["caption"] for row in rows(plain)}
    for domain in COUNTS:
        for split in ("train", "test"):
            before, after = samples(plain, domain, split), samples(made, domain, split)
            assert [(s.key, s.label, s.read()) for s in before] == [(s.key, s.label, s.read()) for s in after]
            expected = [captions[s.key] if split == "train" else s.caption for s in before]
            assert [s.caption for s in after] == expected
    again = write_captions(plain, tmp_path / "again/fake", "mine", from_jsonl(path), console=QUIET)
    assert again.identity == made.identity
    assert write_captions(plain, tmp_path / "new/fake", "mine", from_jsonl(path), console=QUIET) == made
    with pytest.raises(DatasetError, match="prepared with another source"):
        write_captions(plain, tmp_path / "new/fake", "others", from_jsonl(path), console=QUIET)


def test_texts_with_line_ends_of_other_kinds_are_whole(plain: Prepared, tmp_path: Path) -> None:
    """JSON leaves U+2028 and U+0085 as they are, and texts of the web have them."""
    path = tmp_path / "mine.jsonl"
    given = [{**row, "caption": f"{row['caption']}\u2028and\x85more"} for row in rows(plain)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in given), newline="")
    made = write_captions(plain, tmp_path / "new/fake", "mine", from_jsonl(path), console=QUIET)
    found = {s.key: s.caption for domain in COUNTS for s in samples(made, domain, "train")}
    assert found == {row["key"]: row["caption"] for row in given}


def test_of_one_domain_alone(plain: Prepared, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "mine.jsonl", [row for row in rows(plain) if row["key"].startswith("oil/")])
    made = write_captions(plain, tmp_path / "new/fake", "mine", from_jsonl(path), ["oil"], QUIET)
    assert [s.caption for s in samples(made, "ink", "train")] == [s.caption for s in samples(plain, "ink", "train")]
    assert all(str(s.caption).startswith("picture") for s in samples(made, "oil", "train"))
    assert "with captions for oil from mine" in made.source
    with pytest.raises(BadInputError, match="no domain 'ole'; it has ink, oil"):
        write_captions(plain, tmp_path / "x", "mine", from_jsonl(path), ["ole"], QUIET)


def test_every_key_and_line_that_does_not_fit_is_named_and_nothing_is_written(plain: Prepared, tmp_path: Path) -> None:
    good = rows(plain)
    path = jsonl(tmp_path / "mine.jsonl", [*good[2:], good[5], {"key": "ink/nothing", "caption": "x"}])
    with path.open("a") as file:
        file.write('{"key": "oil/x"}\nnot json\n\n{"key": "oil/y", "caption": " "}\n')
    with pytest.raises(BadInputError) as caught:
        write_captions(plain, tmp_path / "new/fake", "mine", from_jsonl(path), console=QUIET)
    assert [problem.removeprefix(str(path)) for problem in caught.value.problems] == [
        f":11: {good[5]['key']!r} occurs twice",
        ':13: expected {"key": "DOMAIN/KEY", "caption": "TEXT"}, got {"key": "oil/x"}',
        ':14: expected {"key": "DOMAIN/KEY", "caption": "TEXT"}, got not json',
        ":16: the caption of 'oil/y' is empty",
        ": no caption for image ink/train-000",
        ": no caption for image ink/train-001",
        ": key of no such training image: ink/nothing",
    ]
    assert not (tmp_path / "new").exists()
    with pytest.raises(BadInputError, match="the folder of the images themselves"):
        write_captions(plain, Path(plain.root), "mine", from_jsonl(path), console=QUIET)


def test_a_coca_model_writes_captions_and_an_interrupted_run_goes_on(
    plain: Prepared, coca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.prepare.captioner.BATCH_SIZE", 4)
    captioner = talkative(coca, to=tmp_path / "new/fake")
    made = write_captions(plain, tmp_path / "new/fake", captioner.origin, captioner, console=QUIET)
    captions = {s.key: s.caption for domain in COUNTS for s in samples(made, domain, "train")}
    assert len(captions) == 12
    assert all(captions.values())
    assert len(set(captions.values())) > 1
    assert captioner.origin in made.source
    assert captioner.journal is not None
    written = captioner.journal.read_text().splitlines()
    assert {(r := json.loads(line))["key"]: r["caption"] for line in written} == captions
    captioner.journal.write_text("\n".join(written[:5]) + '\n{"key": "ink')
    train = [s for domain in COUNTS for s in samples(plain, domain, "train")]
    assert captioner(train) == captions
    assert from_jsonl(captioner.journal)(train) == captions


def test_an_interrupted_run_goes_on_with_the_same_images_weights_and_architecture_alone(
    coca: Path, tmp_path: Path
) -> None:
    def journal(weights: Path, data: str, config: Path = coca) -> Path | None:
        return CoCaCaptioner("tiny_coca", str(weights), config, tmp_path / "new/fake", data).journal

    state = talkative(coca).model.state_dict()
    paths = [tmp_path / name for name in ("one.safetensors", "copy.safetensors", "other.safetensors")]
    save_file(state, paths[0])
    save_file(state, paths[1])
    save_file({**state, "logit_scale": state["logit_scale"] + 1}, paths[2])
    first = journal(paths[0], "images")
    assert journal(paths[1], "images") == first, "wherever the weights lie"
    more_heads = tmp_path / "elsewhere/tiny_coca.json"
    more_heads.parent.mkdir()
    more_heads.write_text(coca.read_text().replace('"attn_pooler_heads": 2', '"attn_pooler_heads": 4'))
    found = {first, journal(paths[2], "images"), journal(paths[0], "others"), journal(paths[0], "images", more_heads)}
    assert len(found) == 4


def test_captions_are_the_likeliest_tokens_one_after_another(coca: Path) -> None:
    model = talkative(coca).model
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = greedy_captions(model, images, 49406, 49407, 6)
    assert tokens.shape == (3, 6)
    for i in range(3):  # one image at a time, the whole model each time
        text = torch.tensor([[49406]])
        for _ in range(5):
            with torch.no_grad():
                logits = model(images[i : i + 1], text, output_labels=False)["logits"]
            text = torch.cat([text, logits[:, -1:].argmax(-1)], dim=1)
        assert torch.equal(tokens[i], text[0])
    end = int(tokens[0, 2])
    stopped = greedy_captions(model, images[:1], 49406, end, 6)[0].tolist()
    assert stopped == tokens[0, : tokens[0].tolist().index(end) + 1].tolist()


def test_a_model_that_cannot_caption_is_refused(tiny_config: Path, coca: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"captioning models: .*coca_ViT-L-14"):
        CoCaCaptioner("coca_ViT-X", "random:0")
    with pytest.raises(BadInputError, match="it is no CoCa model"):
        CoCaCaptioner("tiny_clip", "random:0", tiny_config)
    with pytest.raises(BadInputError, match=r"cannot load weights .* path of a local file"):
        CoCaCaptioner("tiny_coca", str(tmp_path / "nothing.safetensors"), coca)


def test_where_the_command_puts_shards_is_where_a_manifest_looks_for_them(
    plain: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(plain.root, "data/fake@2")
    path, ends = jsonl(tmp_path / "mine.jsonl", rows(plain)), []
    for option in ("fake@2", "fake@2 --to other"):
        done = CliRunner().invoke(app, ["prepare", "captions", "--from", str(path), "--dataset", *option.split()])
        assert done.exit_code == 0, done.output
        ends.append(done.stdout.partition("images, at ")[2].replace(str(tmp_path), "."))
    use = "use it with: python -m orchestrator run --data"
    assert ends == [
        f"./data/captioned/fake@2; {use} ./data/captioned\n",
        f"./other; {use} ., once it is called ./fake\n",
    ]


def test_the_command(plain: Prepared, coca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call = CliRunner().invoke
    arguments = ["prepare", "captions", "--dataset", "fake"]
    path = jsonl(tmp_path / "mine.jsonl", rows(plain))
    done = call(app, [*arguments, "--from", str(path)])
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        f"fake got captions for 12 training images, at {tmp_path}/data/captioned/fake; "
        f"use it with: python -m orchestrator run --data {tmp_path}/data/captioned\n"
    )
    assert "verified" in call(app, [*arguments, "--from", str(path)]).stdout
    weights = tmp_path / "coca.safetensors"
    save_file(talkative(coca).model.state_dict(), weights)
    model = ["--model", "tiny_coca", "--pretrained", str(weights), "--config", str(coca), "--to", "other"]
    done = call(app, [*arguments, *model, "--domain", "oil"])
    assert done.exit_code == 0, done.output
    assert "for oil from tiny_coca (sha256:" in find_prepared("other").source
    made = CoCaCaptioner("tiny_coca", str(weights), coca, tmp_path / "other", plain.identity)
    assert made.journal is not None and made.journal.exists(), "named by the dataset that was asked for"
    for wrong in ([], ["--from", "x", "--pretrained", "y"]):
        done = call(app, [*arguments, *wrong])
        assert (done.exit_code, done.stderr) == (
            2, "give either --from JSONL or --pretrained TAG_OR_PATH (with --model)\n",
        )  # fmt: skip
    done = call(app, ["prepare", "captions", "--dataset", "none", "--from", str(path)])
    assert done.stderr.endswith("first: python -m orchestrator prepare none\n")
    path.write_text("{}\n")
    done = call(app, [*arguments, "--from", str(path), "--to", "third"])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 13)
    assert "Usage" in call(app, ["prepare", "captions", "--help"]).stdout
