"""Training batches for the demo's tiny CLIP: crops and token ids of one step, and images as the model wants them."""

from __future__ import annotations

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.demo_scene import SIZE
from datasets.demo_web import Pool

NUM_WORDS = 49406  # token ids below are words, the next two start and end a text
STRAY_WORD_SHARE = 0.1  # of the captions get stray words
STRAY_WORDS = 4  # at most


def tokenise(pool: Pool, model_name: str) -> Tensor:
    """Token ids of all captions, shape (n, captions per picture, context_length); each text is tokenised once."""
    tokenizer = open_clip.get_tokenizer(model_name)
    texts = sorted({text for row in pool.captions for text in row})
    place = {text: k for k, text in enumerate(texts)}
    ids = torch.as_tensor(tokenizer(texts))
    return ids[torch.tensor([[place[text] for text in row] for row in pool.captions])]


def normalise(images: Tensor, size: int, device: torch.device) -> Tensor:
    """uint8 (n, h, w, 3) to CLIP's normalised float (n, 3, size, size), bicubic with antialiasing."""
    pixels = images.to(device).permute(0, 3, 1, 2).float() / 255
    pixels = F.interpolate(pixels, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN, device=device).view(1, 3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD, device=device).view(1, 3, 1, 1)
    return (pixels - mean) / std


def batch_at(seed: int, step: int, pool: Pool, tokens: Tensor, count: int, min_crop: int) -> tuple[Tensor, Tensor]:
    """The batch of one step, a function of (seed, step): uint8 crops (count, w, w, 3), ids (count, context_length).

    Crops of a batch share their size w, from `min_crop` to the whole picture, so that one call can resize them. Place,
    flip, choice of caption and stray words are drawn per picture.
    """
    rng = np.random.default_rng([seed, step])
    width = int(rng.integers(min_crop, SIZE + 1))
    rows = rng.integers(0, len(pool.images), count)
    corners = rng.integers(0, SIZE - width + 1, (count, 2))
    flips = rng.random(count) < 0.5
    crops = np.empty((count, width, width, 3), np.uint8)
    for k, (row, (top, left), flip) in enumerate(zip(rows, corners, flips, strict=True)):
        crop = pool.images[row, top : top + width, left : left + width]
        crops[k] = crop[:, ::-1] if flip else crop
    ids = tokens[torch.from_numpy(rows), torch.from_numpy(rng.integers(0, tokens.shape[1], count))].clone()
    for k in np.flatnonzero(rng.random(count) < STRAY_WORD_SHARE).tolist():
        ids[k] = with_stray_words(ids[k], rng)
    return torch.from_numpy(crops), ids


def with_stray_words(ids: Tensor, rng: np.random.Generator) -> Tensor:
    """Token ids (context_length,) with random words after the start, like the file names in web captions.

    They also give most of the vocabulary a place in the text space, which methods that sample random texts rely on.
    """
    length = int(ids.argmax()) + 1  # the end of a text has the largest id
    extra = min(int(rng.integers(1, STRAY_WORDS + 1)), len(ids) - length)
    stray = torch.from_numpy(rng.integers(0, NUM_WORDS, extra))
    return torch.cat([ids[:1], stray, ids[1 : len(ids) - extra]])
