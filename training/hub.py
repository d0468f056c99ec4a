"""Weights that open_clip names by tag: found in the cache without a network, or downloaded after one short look for the hub.

Left alone, the hub's client asks for the newest version before it looks into its cache, and without a network tries for most
of a minute, once for each file name. Weights that were published under a tag do not change, so what is cached is used.
"""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath
from typing import Any

import huggingface_hub
import open_clip
from huggingface_hub import constants
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import download_pretrained_from_url

URL_CACHE = Path("~/.cache/clip")
"""Where open_clip keeps what it loads from plain URLs."""

PATIENCE_S = 5.0
"""Longest wait for an answer of the hub; it is asked twice."""


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
    where = (
        f"HF_HOME to a folder whose cache has {_hub_files(config)[0]}"
        if config.get("hf_hub")
        else f"the file {PurePosixPath(config['url']).name} into {URL_CACHE}"
    )
    raise HubError(
        f"weights {tag!r} of {name} are not cached on this machine and {reason}; "
        f"give `pretrained:` the path of a weights file (/path/file), or {'set' if config.get('hf_hub') else 'put'} {where}"
    )


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
        return "the model hub must not be asked (HF_HUB_OFFLINE is set)"
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
