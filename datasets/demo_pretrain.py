"""Make the demo's tiny CLIP: `python -m datasets.demo_pretrain` writes `demo_assets/demo_vit.safetensors` and its log.

Contrastive pre-training (InfoNCE, open_clip's `ClipLoss`) on the captioned drawings of `demo_web`. The defaults are what
made the shipped file. A run that is stopped goes on where it was: weights, Adam's moments and the step are written as one
safetensors file every `--save-every` steps, and the batch of a step is a function of (seed, step) alone, so that the
resumed run sees the data that the uninterrupted one would have seen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.loss import ClipLoss
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from datasets.demo_batches import batch_at, normalise, tokenise
from datasets.demo_scene import DOMAINS, SIZE, TEMPLATES
from datasets.demo_shapes import CLASSNAMES
from datasets.demo_web import CAPTION_NOISE, DOMAIN_SHARE, Pool, cached_pool, held_out, make_pool

ASSETS = Path(__file__).parent / "demo_assets"
CONFIG = ASSETS / "demo_vit.json"
WEIGHTS = ASSETS / "demo_vit.safetensors"
MODEL_NAME = CONFIG.stem
EVAL_CROP = 56  # pixels of the 64 that evaluation keeps: 87.5 %
MAX_LOGIT_SCALE = 100.0
LOG_EVERY = 50  # steps between lines of the log
WATCH_EVERY = 250  # steps between zero-shot accuracies in it

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What changes the weights that come out. `min_crop` is the smallest training crop in pixels of 64."""

    steps: int
    seed: int
    pool_size: int
    batch_size: int = 64
    lr: float = 1.2e-3
    warmup_steps: int = 200
    decay_share: float = 0.35
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    min_crop: int = 52

    def fingerprint(self) -> str:
        """Names the cache folder: two runs share one only if settings, model and drawings are the same."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode() + CONFIG.read_bytes())
        probe = make_pool(200, self.seed)  # every change of drawings or captions shows in some of these
        digest.update(probe.images.tobytes() + json.dumps(probe.captions).encode())
        return digest.hexdigest()[:12]


@torch.no_grad()
def zeroshot_head(model: open_clip.CLIP, device: torch.device) -> Tensor:
    """Unit class weights (K, D): unit text features averaged over all templates, made unit again."""
    templates = [template for domain in DOMAINS for template in TEMPLATES[domain]]
    texts = [template.format(name) for name in CLASSNAMES for template in templates]
    ids = torch.as_tensor(open_clip.get_tokenizer(MODEL_NAME)(texts)).to(device)
    features = model.encode_text(ids, normalize=True).view(len(CLASSNAMES), len(templates), -1)
    return F.normalize(features.mean(1), dim=-1)


@torch.no_grad()
def zeroshot_accuracy(model: open_clip.CLIP, pool: Pool, device: torch.device) -> dict[str, float]:
    """Domain -> top-1 accuracy in [0, 1] on centre crops."""
    model.eval()
    margin, size = (SIZE - EVAL_CROP) // 2, model.visual.image_size[0]
    centre = torch.from_numpy(pool.images[:, margin:-margin, margin:-margin].copy())
    head = zeroshot_head(model, device)
    parts = torch.split(centre, 250)
    logits = [model.encode_image(normalise(part, size, device), normalize=True) @ head.T for part in parts]
    correct = torch.cat(logits).argmax(1).cpu().numpy() == pool.labels
    model.train()
    return {name: round(float(correct[pool.domains == k].mean()), 4) for k, name in enumerate(DOMAINS)}


def lr_at(step: int, settings: Settings) -> float:
    """Linear warm-up, constant, then cosine to zero over the last `decay_share` of the steps."""
    decay_steps = max(1, round(settings.decay_share * settings.steps))
    warm = min(1.0, (step + 1) / settings.warmup_steps)
    progress = max(0.0, 1 - (settings.steps - step) / decay_steps)
    return settings.lr * warm * 0.5 * (1 + math.cos(math.pi * progress))


def build(settings: Settings, device: torch.device) -> tuple[open_clip.CLIP, torch.optim.AdamW]:
    """A fresh model and its optimiser; matrices decay, gains, biases, embeddings and the logit scale do not."""
    torch.manual_seed(settings.seed)
    open_clip.add_model_config(CONFIG)
    model = open_clip.create_model(MODEL_NAME, device=device)
    matrices = [name for name, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in name]
    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in model.named_parameters() if name in matrices]},
        {"params": [p for name, p in model.named_parameters() if name not in matrices], "weight_decay": 0.0},
    ]
    options: dict[str, Any] = {
        "lr": settings.lr,
        "weight_decay": settings.weight_decay,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
    }
    return model, torch.optim.AdamW(groups, fused=True, **options)


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """`save_file` under a temporary name, then rename: the file is whole or absent."""
    partial = path.with_suffix(".partial")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial, metadata)
    partial.replace(path)


def save_state(path: Path, model: open_clip.CLIP, optimizer: torch.optim.AdamW, step: int) -> None:
    """Write everything that a resumed run needs as one file."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment]
    write_safetensors(path, tensors, {"step": str(step)})


def load_state(path: Path, model: open_clip.CLIP, optimizer: torch.optim.AdamW) -> int:
    """Restore what `save_state` wrote; returns the number of finished steps."""
    with safe_open(path, framework="pt") as file:
        step = int(file.metadata()["step"])
        model.load_state_dict({name: file.get_tensor(f"model/{name}") for name in model.state_dict()})
        for name, parameter in model.named_parameters():
            optimizer.state[parameter] = {"step": torch.tensor(float(step), device=parameter.device)}
            for moment in ("exp_avg", "exp_avg_sq"):
                optimizer.state[parameter][moment] = file.get_tensor(f"{moment}/{name}").to(parameter.device)
    return step


def start_log(path: Path, settings: Settings, step: int) -> None:
    """Write the settings as first line and forget lines after `step`, which the resumed run writes again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text().splitlines() if step and path.exists() else []
    kept = [line for line in old if 0 < json.loads(line)["step"] <= step]
    header = {"settings": asdict(settings), "domain_share": DOMAIN_SHARE, "caption_noise": CAPTION_NOISE}
    path.write_text("".join(line + "\n" for line in [json.dumps({"step": 0, **header}), *kept]))


def train_step(
    model: open_clip.CLIP, optimizer: torch.optim.AdamW, images: Tensor, ids: Tensor, lr: float, clip_norm: float
) -> float:
    """One optimiser step on images (b, 3, s, s) and ids (b, context_length); returns InfoNCE in nats."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    image_features, text_features = model.encode_image(images, normalize=True), model.encode_text(ids, normalize=True)
    loss: Tensor = ClipLoss()(image_features, text_features, model.logit_scale.exp())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(MAX_LOGIT_SCALE))
    return float(loss.item())


def pretrain(settings: Settings, out: Path, cache: Path, device: torch.device, save_every: int, watched: int) -> None:
    """Run, or go on with, the pre-training and write `out` in half precision, with its log beside it.

    `watched` is the number of held-out pictures per domain for the zero-shot accuracy in the log.
    """
    cache.mkdir(parents=True, exist_ok=True)
    log_path, state = out.with_suffix(".log.jsonl"), cache / "state.safetensors"
    pool, watch = cached_pool(settings.pool_size, settings.seed, cache / "pool.npz"), held_out(watched, settings.seed)
    model, optimizer = build(settings, device)
    tokens, size = tokenise(pool, MODEL_NAME), model.visual.image_size[0]
    start = load_state(state, model, optimizer) if state.exists() else 0
    start_log(log_path, settings, start)
    began = time.monotonic()
    for step in range(start, settings.steps):
        crops, ids = batch_at(settings.seed, step, pool, tokens, settings.batch_size, settings.min_crop)
        lr, images = lr_at(step, settings), normalise(crops, size, device)
        loss = train_step(model, optimizer, images, ids.to(device), lr, settings.clip_norm)
        done = step + 1
        if done % LOG_EVERY == 0 or done == settings.steps:
            scale = model.logit_scale.exp().item()
            line = {"step": done, "loss": round(loss, 4), "lr": round(lr, 6), "logit_scale": round(scale, 2)}
            if done % WATCH_EVERY == 0 or done == settings.steps:
                line["zeroshot"] = zeroshot_accuracy(model, watch, device)
            with log_path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            log.info("%.0f s: %s", time.monotonic() - began, line)
        if done % save_every == 0 or done == settings.steps:
            save_state(state, model, optimizer, done)
    write_safetensors(out, {name: tensor.half() for name, tensor in model.state_dict().items()}, {"format": "pt"})


def main() -> None:
    """Command line."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser("python -m datasets.demo_pretrain", description=__doc__, formatter_class=formatter)
    parser.add_argument("--steps", type=int, default=4000, help="optimiser steps")
    parser.add_argument("--seed", type=int, default=0, help="of weights, pictures and batches")
    parser.add_argument("--pool-size", type=int, default=24_000, help="pictures to draw for pre-training")
    parser.add_argument("--device", default="cpu", help="torch device; the shipped file was made on the CPU")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; more change the last bits of the result")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="safetensors file to write; the log lies beside it")
    default_cache = Path(tempfile.gettempdir()) / "demo_pretrain"
    parser.add_argument("--cache", type=Path, default=default_cache, help="folder for the pool and the resume state")
    parser.add_argument("--save-every", type=int, default=250, help="steps between resume points")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    torch.set_num_threads(args.threads)
    settings = Settings(steps=args.steps, seed=args.seed, pool_size=args.pool_size)
    cache = args.cache / settings.fingerprint()
    log.info("writing %s; pool and resume state in %s", args.out, cache)
    pretrain(settings, args.out, cache, torch.device(args.device), args.save_every, watched=500)


if __name__ == "__main__":
    main()
