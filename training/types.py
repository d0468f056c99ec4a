"""The words that methods, datasets and the training loop share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from torch import Tensor

from training.runtime import Runtime

if TYPE_CHECKING:
    from training.model import ImageClassifier, TextEncoder

Losses = Mapping[str, Tensor]
"""`loss` (scalar with gradient, what is minimised) and every term of it under its own name (scalars)."""

StateDict = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Images as the loader gives them, still on the host."""

    images: Tensor
    """(B, 3, H, W) uint8, RGB"""
    labels: Tensor
    """(B,) int64"""
    keys: tuple[str, ...]
    captions: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as a method gets them: on the device, normalised with the model's mean and standard deviation."""

    images: Tensor
    """(B, 3, H, W) float32"""
    labels: Tensor
    """(B,) int64"""
    keys: tuple[str, ...] = ()
    captions: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training: which parameters move, for which share of the steps, how fast.

    Parameters that no phase names are frozen. Names are those of `ImageClassifier.named_parameters()`.
    """

    name: str
    trained: tuple[str, ...]
    share: float = 1.0
    """of the recipe's steps; the shares of a method's phases add up to 1"""
    lr: float | None = None
    """peak learning rate; None: the recipe's"""
    weight_decay: float | None = None
    """None: the recipe's"""


class Pairs(Protocol):
    """A pool of image-text pairs beside the dataset."""

    def __len__(self) -> int:
        """Pairs in the pool."""
        ...

    def features(self, side: Literal["image", "text"]) -> Tensor:
        """L2-normalised zero-shot features (N, D) of all images or texts, on the CPU, whole on every worker."""
        ...

    def batches(self, chosen: Sequence[int], global_batch_size: int, start: int) -> Iterator[Batch]:
        """This worker's parts of augmented batches of the pairs `chosen` (their places in the pool), on the device.

        Batch `i` is a pure function of the arguments, the trial's seed and `i`; the first one given is batch `start`.
        """
        ...


def _no_pairs(pool: str) -> Pairs:
    """The default of `Task.pairs`."""
    raise ValueError(f"no pool of image-text pairs {pool!r} is at hand here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a method may know of the problem: never a dataset's name, never test data."""

    classnames: tuple[str, ...]
    templates: tuple[str, ...]
    text: TextEncoder
    """the frozen pre-trained text tower, on the device"""
    num_steps: int
    seed: int
    images: Callable[[Literal["train", "val"]], Iterable[Batch]]
    """one pass over the reference images without augmentation, on the device; this worker's part of them, in order"""
    captions: Callable[[], Sequence[str | None]] = tuple
    """the captions of all training images, None where there is none; reads no images"""
    pairs: Callable[[str], Pairs] = _no_pairs
    """the pool of image-text pairs that a setting marked `training.config.PoolPath` names"""
    runtime: Runtime = field(default_factory=Runtime)
    """for what needs all workers' values: `all_gather`, `gather_with_gradient`"""
    label_smoothing: float = 0.0
    contexts: tuple[str, ...] = ()
    """templates of the contexts that an image may be seen in: the dataset's own, or CLIP's 80 where it has one alone, of which
    there is no distribution; empty: `templates`"""


@runtime_checkable
class Predictor(Protocol):
    """Anything that turns normalised images (B, 3, H, W) into logits (B, K)."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits of the images."""
        ...


@runtime_checkable
class Reheadable(Protocol):
    """A predictor that can be given heads for other classes, so that it can be measured on datasets it was not trained on."""

    def with_heads(self, head_for: Callable[[ImageClassifier], Tensor]) -> Predictor:
        """The same predictor with the head (D, K') that `head_for` makes for each classifier in it; encoders are shared."""
        ...
