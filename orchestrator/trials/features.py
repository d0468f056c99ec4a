"""Reads `features.safetensors` of a trial: features of the first images of each test split. No ray, no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

FEATURES_FILE = "features.safetensors"
TEXT_MOMENT = "text_moment"

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Features:
    """What a trial keeps of its features."""

    images: dict[tuple[str, str], Floats]
    """(variant, domain) -> (n, D) L2-normalised, rounded to float16; rows as the first rows of the domain's split 'test' in
    predictions.parquet, at most 100"""
    text_moment: Floats | None
    """G^T G / M (D, D) of the random texts' features; None if the text tower cannot read random texts"""


def read_features(path: Path) -> Features:
    """Read a trial's features. Raises FileNotFoundError (older trials, ensembles), or ValueError if the file is damaged."""
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        tensors = load_file(path)
        images = {
            (variant, domain): tensors[name].astype(np.float32)
            for name in sorted(set(tensors) - {TEXT_MOMENT})
            for variant, domain in [json.loads(name)]
        }
    except Exception as error:
        raise ValueError(f"{path} holds no features that can be read: {error}") from None
    return Features(images, tensors.get(TEXT_MOMENT))


def energy_coordinates(features: Floats, text_moment: Floats) -> NDArray[np.float64]:
    """Points (n, D) whose distances are those of the images' energy vectors, from features (n, D) and `text_moment`.

    An image's energy vector is -G F(x), one energy for each of M texts. ||G F - G F'||^2 / M = d^T C d with d = F - F' and C =
    G^T G / M, so F times a square root of C has the same distances (over sqrt(M)) in D numbers instead of M. t-SNE looks at
    nothing but distances.
    """
    values, vectors = np.linalg.eigh(text_moment.astype(np.float64))
    root: NDArray[np.float64] = vectors * np.sqrt(np.clip(values, 0, None))
    coordinates: NDArray[np.float64] = features.astype(np.float64) @ root
    return coordinates
