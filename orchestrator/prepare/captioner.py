"""Captions from an open_clip CoCa model, decoded greedily, so that they depend on nothing but weights and image."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.coca_model import CoCa
from torch import Tensor

from datasets.shard_file import write_atomic
from datasets.stream import EvalStream, Sample
from datasets.transforms import EvalTransform
from orchestrator.bad_input import BadInputError
from orchestrator.identity import file_identity
from training.evaluate import Normalise, autocast

MAX_TOKENS = 30
"""Longest caption, start and end included: the default of open_clip's `generate`."""
BATCH_SIZE = 64
HEARTBEAT_SECONDS = 15.0


class CoCaCaptioner:
    """A captioner for `orchestrator.prepare.captions`. `origin` names model, weights and how they are read out."""

    def __init__(
        self,
        name: str,
        pretrained: str,
        config: Path | None = None,
        to: Path | None = None,
        data: str = "",
        say: Callable[[str], None] = lambda line: None,
        threads: int = 4,
    ) -> None:
        """`pretrained`: a weights file, an open_clip tag, or 'random:SEED' for tests; BadInputError if it cannot be loaded.

        Captions are also written beside the folder `to`, as JSONL, so that an interrupted run goes on where it was;
        `data` is the identity of the dataset that the images are from.
        """
        self.model, self.device = _load(name, pretrained, config), _device()
        self.data, self._read = data, _contents(name, self.model)
        self.model.to(self.device)
        self.tokenizer = open_clip.get_tokenizer(name)
        self.to, self.say, self.threads = to, say, threads
        weights = pretrained if pretrained.startswith("random:") else f"tag:{pretrained}"
        if Path(pretrained).is_file():
            weights = file_identity(Path(pretrained))
        self.origin = f"{name} ({weights}), greedy, at most {MAX_TOKENS} tokens"

    def __call__(self, images: Sequence[Sample]) -> dict[str, str]:
        """Key -> caption. Raises BadInputError naming each image whose caption comes out empty."""
        keys = {image.key for image in images}
        found = {key: caption for key, caption in self._before().items() if key in keys}
        left = [image for image in images if image.key not in found]
        said, done = time.monotonic(), 0
        for raw in self._stream(left):
            with autocast(self.device):
                tokens = greedy_captions(self.model, self._normalise(raw).images, *self._ends())
            made = dict(zip(raw.keys, map(self._text, tokens.tolist()), strict=True))
            self._keep(made)
            found, done = found | made, done + len(made)
            if (seconds := time.monotonic() - said) >= HEARTBEAT_SECONDS:
                self.say(f"captions: {len(found):,} of {len(images):,}, {done / seconds:,.1f} images/s")
                said, done = time.monotonic(), 0
        if empty := [key for key, caption in found.items() if not caption]:
            how = f"write them into {self.journal} and give that with --from" if self.journal else "nothing is written"
            raise BadInputError([*(f"the caption of {key} comes out empty" for key in empty), f"empty captions: {how}"])
        return found

    @property
    def journal(self) -> Path | None:
        """Captions so far, in the form that `--from` reads.

        Other images have another file, and so have other weights or another architecture by the same name.
        """
        digest = hashlib.sha256("\n".join([self.origin, self._read, self.data]).encode()).hexdigest()[:16]
        return self.to and self.to.with_name(f"{self.to.name}.captions-{digest}.jsonl")

    def _before(self) -> dict[str, str]:
        """What an interrupted run has left; a line that it did not finish is dropped."""
        if self.journal is None or not self.journal.exists():
            return {}
        found = {}
        for line in self.journal.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                row = json.loads(line)
                found[str(row["key"])] = str(row["caption"])
            except (ValueError, KeyError, TypeError):
                break
        write_atomic(self.journal, "".join(map(_line, found.items())))
        return found

    def _keep(self, made: dict[str, str]) -> None:
        if self.journal is not None:
            self.journal.parent.mkdir(parents=True, exist_ok=True)
            with self.journal.open("a", encoding="utf-8") as file:
                file.writelines(map(_line, made.items()))

    def _stream(self, images: Sequence[Sample]) -> EvalStream:
        size = self.model.visual.image_size
        transform = EvalTransform("openai", int(size[0] if isinstance(size, tuple | list) else size))
        return EvalStream(samples=images, transform=transform, batch_size=BATCH_SIZE, threads=self.threads)

    @property
    def _normalise(self) -> Normalise:
        visual = self.model.visual
        mean = getattr(visual, "image_mean", None) or open_clip.OPENAI_DATASET_MEAN
        std = getattr(visual, "image_std", None) or open_clip.OPENAI_DATASET_STD
        return Normalise(tuple(mean), tuple(std), self.device)

    def _ends(self) -> tuple[int, int]:
        return self.tokenizer.sot_token_id, self.tokenizer.eot_token_id

    def _text(self, tokens: list[int]) -> str:
        """The words between start and end."""
        start, end = self._ends()
        inner = tokens[1 : tokens.index(end)] if end in tokens else tokens[1:]
        return " ".join(str(self.tokenizer.decode([t for t in inner if t not in (0, start)])).split())


@torch.no_grad()
def greedy_captions(model: Any, images: Tensor, start: int, end: int, max_tokens: int = MAX_TOKENS) -> Tensor:
    """Token ids (B, L), L <= `max_tokens`: the likeliest next token again and again, from `start` to `end`.

    What follows an `end` is `end`. Each image's caption is its own, whatever else is in the batch. open_clip's `generate`
    searches with beams by default and needs the package transformers; this needs neither.
    """
    latent, tokens_of_image = model._encode_image(images)
    text = torch.full((len(images), 1), start, dtype=torch.int64, device=images.device)
    done = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    while text.shape[1] < max_tokens and not bool(done.all()):
        logits = model(images, text, image_latent=latent, image_embs=tokens_of_image, output_labels=False)["logits"]
        following = logits[:, -1].argmax(dim=-1).masked_fill(done, end)
        text = torch.cat([text, following[:, None]], dim=1)
        done |= following == end
    return text


def _load(name: str, pretrained: str, config: Path | None) -> Any:
    if config is not None:
        open_clip.add_model_config(config)
    if name not in open_clip.list_models():
        coca = ", ".join(model for model in open_clip.list_models() if "coca" in model.lower())
        raise BadInputError([f"open_clip knows no model {name!r}; captioning models: {coca}"])
    try:
        if pretrained.startswith("random:"):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(pretrained.removeprefix("random:")))
                model = open_clip.create_model(name, pretrained=None, pretrained_text=False)
        else:
            model = open_clip.create_model(name, pretrained=pretrained, require_pretrained=True)
    except Exception as error:  # open_clip raises errors of many classes; the reason is in the first line
        reason = (str(error).splitlines() or ["no message"])[0]
        raise BadInputError(
            [
                f"cannot load weights {pretrained!r} of model {name!r}: {type(error).__name__}: {reason}. "
                f"Give --pretrained the path of a local file, or set HF_HOME to a cache that has it"
            ]
        ) from None
    if not isinstance(model, CoCa):
        raise BadInputError([f"model {name!r} cannot write captions: it is no CoCa model"])
    return model.eval()


def _contents(name: str, model: torch.nn.Module) -> str:
    """A hash of the weights, as they were loaded, and of the architecture."""
    found = hashlib.sha256(json.dumps(open_clip.get_model_config(name), sort_keys=True).encode())
    for key, tensor in model.state_dict().items():
        found.update(key.encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _line(item: tuple[str, str]) -> str:
    return json.dumps({"key": item[0], "caption": item[1]}, ensure_ascii=False) + "\n"


def _device() -> torch.device:
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
