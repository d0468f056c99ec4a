"""Weights that open_clip names by tag: found in the cache without a network, or downloaded after one short look for the hub.

Left alone, the hub's client asks for the newest version before it looks into its cache, and without a network tries for most
of a minute, once for each file name. Weights that were published under a tag do not change, so what is cached is used.
"""

from __future__ import annotations

import inspect
import time
from pathlib import Path, PurePosixPath
from typing import Any

import huggingface_hub
import open_clip
import torch
from huggingface_hub import constants
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import download_pretrained_from_url

URL_CACHE = Path("~/.cache/clip")
"""Where open_clip keeps what it loads from plain URLs."""

PATIENCE_S = 5.0
"""Longest wait for an answer of the hub; it is asked twice."""

_OFFLINE = "the model hub must not be asked (HF_HUB_OFFLINE is set)"


class HubError(OSError):
    """Weights are not in the cache and cannot be had; the message says which, why and what to do."""


def is_tag(name: str, pretrained: str) -> bool:
    """Whether these weights of architecture `name` are published under a tag, rather than a file."""
    return not Path(pretrained).is_file() and bool(open_clip.get_pretrained_cfg(name, pretrained))


def cached_weights(name: str, tag: str) -> Path | None:
    """The file of published weights in the cache of this machine, None if it is not there. Asks no network."""
    config = open_clip.get_pretrained_cfg(name, tag)
    if not config.get("hf_hub"):
        file = URL_CACHE.expanduser() / PurePosixPath(config["url"]).name
        return file if file.is_file() else None
    repository, names = _hub_files(config)
    for file_name in names:
        found = huggingface_hub.try_to_load_from_cache(repository, file_name)
        if isinstance(found, str):
            return Path(found)
    return None


def fetch_weights(name: str, tag: str) -> Path:
    """The file of published weights, downloaded if the cache lacks it.

    Raises HubError, at most a few seconds later, if the hub cannot be reached.
    """
    if (found := cached_weights(name, tag)) is not None:
        return found
    config = open_clip.get_pretrained_cfg(name, tag)
    reason = _out_of_reach(config)
    if reason is None:
        try:
            return _download(config)
        except (OSError, ValueError, RuntimeError) as error:  # the client's own errors are OSErrors or ValueErrors
            reason = f"the download failed ({_in_short(error)})"
    raise HubError(f"weights {tag!r} of {name} are not cached on this machine and {reason}; {by_hand(name, tag)}")


def download_note(name: str, tag: str) -> str | None:
    """What `fetch_weights` will do about published weights that are not cached, in one line; None if they are.

    Asks no network: the size is that of the architecture's numbers in 32 bits, where open_clip alone knows the architecture.
    """
    if cached_weights(name, tag) is not None:
        return None
    config = open_clip.get_pretrained_cfg(name, tag)
    absent = f"weights {tag!r} of {name} are not cached on this machine"
    if config.get("hf_hub") and constants.HF_HUB_OFFLINE:
        return f"{absent} and `run` will not get them, {_OFFLINE}; {by_hand(name, tag)}"
    size = parameters(name)
    about = "" if size is None else f" (about {4 * size / 1e6:,.0f} MB)"
    return f"{absent}: `run` will download them{about}; without a network {by_hand(name, tag)}"


def parameters(name: str) -> int | None:
    """Numbers in the weights of an architecture; None if parts of it are of other libraries, which might ask a network."""
    config = open_clip.get_model_config(name) or {}
    towers = (config.get("vision_cfg", {}), config.get("text_cfg", {}))
    if any(key.startswith(("hf_", "timm_")) for tower in towers for key in tower) or "multimodal_cfg" in config:
        return None
    known = {key: value for key, value in config.items() if key in inspect.signature(open_clip.CLIP).parameters}
    with torch.device("meta"):  # no memory, no work
        return sum(int(p.numel()) for p in open_clip.CLIP(**known).parameters())


def by_hand(name: str, tag: str) -> str:
    """How to do without a download of published weights, as an order: 'give ..., or set ...'."""
    config = open_clip.get_pretrained_cfg(name, tag)
    where = (
        f"set HF_HOME to a folder whose cache has {_hub_files(config)[0]}"
        if config.get("hf_hub")
        else f"put the file {PurePosixPath(config['url']).name} into {URL_CACHE}"
    )
    return f"give `pretrained:` the path of a weights file (/path/file), or {where}"


def use_file(name: str, tag: str, path: Path) -> None:
    """Let open_clip read the weights of a tag from `path`: it then asks nobody, and knows mean and activation as for the tag."""
    open_clip.get_pretrained_cfg(name, tag)["file"] = str(path)


def _hub_files(config: dict[str, Any]) -> tuple[str, list[str]]:
    """(repository, names that its weights may have, the first one there is taken), as open_clip looks for them."""
    repository, _, file_name = config["hf_hub"].rpartition("/")
    if not file_name or file_name == HF_WEIGHTS_NAME:
        return repository, [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    if file_name.endswith((".bin", ".pth")):
        return repository, [f"{file_name[:-4]}.safetensors", file_name]
    return repository, [file_name]


def _out_of_reach(config: dict[str, Any]) -> str | None:
    """Why the place of the weights cannot be reached; None if it answers, whatever it says."""
    repository, names = _hub_files(config) if config.get("hf_hub") else ("", [])
    if repository and constants.HF_HUB_OFFLINE:
        return _OFFLINE
    url = huggingface_hub.hf_hub_url(repository, names[0]) if repository else config["url"]
    place = f"the model hub {constants.ENDPOINT}" if repository else url
    for attempt in (1, 2):
        try:
            huggingface_hub.get_session().head(url, timeout=PATIENCE_S, follow_redirects=False)
        except Exception as error:  # the client's library has no common base for what can go wrong here
            if attempt == 2:
                return f"{place} cannot be reached ({_in_short(error)})"
            time.sleep(0.5)
        else:
            return None
    return None


def _download(config: dict[str, Any]) -> Path:
    if not config.get("hf_hub"):
        return Path(download_pretrained_from_url(config["url"]))
    repository, names = _hub_files(config)
    *others, last = names
    for file_name in others:
        if huggingface_hub.file_exists(repository, file_name):
            return Path(huggingface_hub.hf_hub_download(repository, file_name))
    return Path(huggingface_hub.hf_hub_download(repository, last))


def _in_short(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
