"""Resolves the entries under `models:`: architecture and weights by name, tag or file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.identity import file_identity
from orchestrator.manifest.errors import Problems
from orchestrator.manifest.schema import ManifestFile, ModelEntry
from orchestrator.manifest.yaml_lines import KeyPath
from orchestrator.paths import shipped
from orchestrator.spec import UNPREPARED, ModelRef

WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


@dataclass(frozen=True)
class Model:
    """A pre-trained CLIP as its trials refer to it, and where its files lie."""

    key: str
    ref: ModelRef
    pretrained: str
    """absolute path of a weights file, an open_clip tag, or 'random:SEED'"""
    config: Path | None

    @property
    def is_prepared(self) -> bool:
        """False if a local weights file is missing."""
        return self.ref.weights != UNPREPARED


def resolve_models(file: ManifestFile, folder: Path, problems: Problems) -> dict[str, Model]:
    """The models that are right, by key; what is wrong with the others is noted."""
    found = {key: _resolve(key, entry, folder, problems) for key, entry in file.models.items()}
    return {key: model for key, model in found.items() if model is not None}


def _resolve(key: str, entry: ModelEntry, folder: Path, problems: Problems) -> Model | None:
    path: KeyPath = ("models", key)
    config = shipped(entry.config, folder) if entry.config else None
    if not _check_architecture(path, entry, config, problems):
        return None
    pretrained = _pretrained(path, entry, folder, problems)
    if pretrained is None:
        return None
    architecture = file_identity(config) if config else None
    weights = _weights(pretrained)
    if config is None and _is_quickgelu_file(entry.name, weights):
        problems.add(
            (*path, "name"),
            f"{pretrained} holds published weights trained with QuickGELU, which {entry.name!r} does not have: "
            f"use '{entry.name}-quickgelu'",
        )
        return None
    ref = ModelRef(name=entry.name, weights=weights, architecture=architecture)
    return Model(key, ref, pretrained, config)


def _check_architecture(path: KeyPath, entry: ModelEntry, config: Path | None, problems: Problems) -> bool:
    if config is None:
        known = _architectures()
        if entry.name not in known:
            problems.unknown((*path, "name"), "open_clip architecture", entry.name, known)
        return entry.name in known
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        wrong = (
            None if isinstance(content, dict) and {"embed_dim", "vision_cfg", "text_cfg"} <= set(content) else "keys"
        )
    except FileNotFoundError:
        wrong = "missing"
    except (OSError, ValueError):  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        wrong = "unreadable"
    if wrong == "missing":
        problems.add((*path, "config"), f"no file {config}; it is taken from the manifest's folder")
    elif wrong:
        problems.add(
            (*path, "config"), f"{config} is no open_clip model config (JSON with embed_dim, vision_cfg, text_cfg)"
        )
    elif entry.name != config.stem:
        problems.add((*path, "name"), f"must be {config.stem!r}, the name of the config file, got {entry.name!r}")
    return not wrong and entry.name == config.stem


def _pretrained(path: KeyPath, entry: ModelEntry, folder: Path, problems: Problems) -> str | None:
    """A weights file's absolute path, a tag, or 'random:SEED'; None if it is none of them."""
    text, where = entry.pretrained, (*path, "pretrained")
    if text == "random" or text.startswith("random:"):
        seed = text.removeprefix("random").removeprefix(":") or "0"
        if not re.fullmatch(r"[0-9]{1,9}", seed):
            problems.add(where, f"must be 'random' or 'random:SEED' with a whole number as seed, got {text!r}")
            return None
        return f"random:{int(seed)}"
    file = shipped(text, folder)
    if file.is_dir():
        problems.add(where, f"{file} is a folder; name the weights file in it")
        return None
    if file.is_file() or "/" in text or text.endswith(WEIGHTS_SUFFIXES):
        return str(file)
    if entry.config is not None:
        problems.add(
            where, f"must be a weights file or 'random', got {text!r}: tags are for open_clip's own architectures"
        )
        return None
    return _tag(where, entry, problems)


def _tag(where: KeyPath, entry: ModelEntry, problems: Problems) -> str | None:
    import open_clip

    known = open_clip.list_pretrained_tags_by_model(entry.name)
    if entry.pretrained not in known:
        problems.unknown(where, f"weights of {entry.name}:", entry.pretrained, [*known, "random"])
        return None
    if needs_quickgelu(entry.name, entry.pretrained):
        from training.hub import by_hand

        right = f"{entry.name}-quickgelu"
        problems.add(
            (*where[:-1], "name"),
            f"the weights {entry.pretrained!r} were trained with QuickGELU, which {entry.name!r} does not have: use {right!r}. "
            f"Without a network, {by_hand(right, entry.pretrained)}",
        )
        return None
    return entry.pretrained


def needs_quickgelu(name: str, tag: str) -> bool:
    """Whether published weights were trained with QuickGELU and architecture `name` lacks it, but has a sibling with it.

    Such weights load with only a warning and lose several points of accuracy.
    """
    import open_clip

    has = (open_clip.get_model_config(name) or {}).get("quick_gelu", False)
    wanted = open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)
    return bool(wanted and not has and f"{name}-quickgelu" in _architectures())


def _is_quickgelu_file(name: str, weights: str) -> bool:
    """Whether a file is one of those whose address holds (the start of) its sha256, and `name` lacks the activation it needs."""
    import open_clip

    sha256 = weights.removeprefix("sha256:")
    return sha256 != weights and any(
        needs_quickgelu(name, tag) and sha256[:8] in open_clip.get_pretrained_cfg(name, tag).get("url", "")
        for tag in open_clip.list_pretrained_tags_by_model(name)
    )


def _weights(pretrained: str) -> str:
    """The identity of weights."""
    if pretrained.startswith("random:"):
        return pretrained
    if not Path(pretrained).is_absolute():
        return f"tag:{pretrained}"
    return file_identity(Path(pretrained)) if Path(pretrained).is_file() else UNPREPARED


def _architectures() -> list[str]:
    import open_clip

    return [str(name) for name in open_clip.list_models()]
