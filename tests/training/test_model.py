"""The classifier's formula, zero-shot heads, random texts and clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from training.checkpoint import save_tensors
from training.model import ModelError, PretrainedClip, load_clip, load_state, state_dict

CPU = torch.device("cpu")


def test_logits_follow_the_formula(tiny_clip: PretrainedClip) -> None:
    head = torch.randn(16, 5)
    model = tiny_clip.classifier(head, CPU)
    images = torch.randn(4, 3, 32, 32)
    features = model.visual(images)
    expected = tiny_clip.text.logit_scale * (features / features.norm(dim=1, keepdim=True)) @ head
    assert torch.allclose(model(images), expected, atol=1e-5)


def test_the_logit_scale_is_frozen_and_everything_else_can_be_trained(tiny_clip: PretrainedClip) -> None:
    model = tiny_clip.classifier(torch.randn(16, 5), CPU)
    assert "logit_scale" in dict(model.named_buffers())
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"visual", "head"}


def test_classifiers_do_not_share_weights(tiny_clip: PretrainedClip) -> None:
    one, two = (tiny_clip.classifier(torch.zeros(16, 5), CPU) for _ in range(2))
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1)
    assert all(not torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_the_zero_shot_head_is_the_normalised_mean_over_the_templates(tiny_clip: PretrainedClip) -> None:
    text, templates = tiny_clip.text, ["a photo of a {}.", "a {}."]
    head = text.zero_shot_head(["cat", "dog"], templates)
    for column, name in enumerate(["cat", "dog"]):
        tokens = text.tokenizer([template.format(name) for template in templates])
        features = F.normalize(text.clip.encode_text(tokens), dim=1)
        assert torch.allclose(head[:, column], F.normalize(features.mean(0), dim=0), atol=1e-6)


def test_short_texts_have_the_features_of_padded_ones(tiny_clip: PretrainedClip) -> None:
    text = tiny_clip.text
    tokens = text.random_tokens(7, 5, torch.Generator().manual_seed(0))
    padded = F.pad(tokens, (0, text.context_length - tokens.shape[1]))
    expected = F.normalize(text.clip.encode_text(padded), dim=1)
    assert torch.allclose(text.encode(tokens), expected, atol=1e-6)


def test_random_texts_are_token_ids_between_start_and_end(tiny_clip: PretrainedClip) -> None:
    tokens = tiny_clip.text.random_tokens(500, 8, torch.Generator().manual_seed(0))
    assert tokens.shape == (500, 10)
    assert (tokens[:, 0] == 49406).all()
    assert (tokens[:, -1] == 49407).all()
    assert tokens[:, 1:-1].max() <= 49405
    assert tokens[:, 1:-1].float().mean() == pytest.approx(49406 / 2, rel=0.03)


def test_a_text_longer_than_the_context_is_refused(tiny_clip: PretrainedClip) -> None:
    with pytest.raises(ModelError, match=r"token_length 15 .* use at most 14"):
        tiny_clip.text.random_tokens(1, 15, torch.Generator())


def test_weights_from_a_file_are_those_in_the_file(
    tiny_clip: PretrainedClip, tiny_config: Path, tmp_path: Path
) -> None:
    import open_clip

    open_clip.add_model_config(tiny_config)
    torch.manual_seed(3)
    source = open_clip.create_model("tiny_clip", pretrained=None)
    save_tensors(tmp_path / "weights.safetensors", source.state_dict())
    loaded = load_clip("tiny_clip", str(tmp_path / "weights.safetensors"), tiny_config)
    assert torch.equal(loaded.visual.proj, source.visual.proj)
    assert not torch.equal(loaded.visual.proj, tiny_clip.visual.proj)
    assert torch.equal(loaded.text.clip.text_projection, source.text_projection)


def test_random_weights_are_those_of_their_seed(tiny_config: Path) -> None:
    one, two, other = (load_clip("tiny_clip", f"random:{seed}", tiny_config).visual.proj for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_missing_file_is_named_with_what_to_do(tiny_config: Path) -> None:
    with pytest.raises(ModelError, match=r"/nowhere/weights\.safetensors.*give `pretrained:` a weights file"):
        load_clip("tiny_clip", "/nowhere/weights.safetensors", tiny_config)


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ModelError, match="no model 'ViT-B-61'"):
        load_clip("ViT-B-61", "openai")


def test_weights_of_another_shape_are_refused(tiny_clip: PretrainedClip) -> None:
    model = tiny_clip.classifier(torch.zeros(16, 5), CPU)
    state = state_dict(model) | {"head": torch.zeros(16, 6)}
    with pytest.raises(ModelError, match="weights do not fit"):
        load_state(model, state)
