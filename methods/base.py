"""The two interfaces of a method: `Method` is trained, `PostHoc` is derived from finished trials.

A new method is one file in this folder (or in a folder of your own, named under `plugins:` in the manifest). It defines
exactly one subclass of `Method` or `PostHoc`; its name is the file's name. The maths belongs into a pure function over
tensors with the formula in its docstring; the class only wires it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from training.config import Frozen
from training.model import ImageClassifier
from training.types import Batch, Losses, Phase, Predictor, StateDict, Task


class NoSettings(Frozen):
    """Settings of a method that has none."""


class Method:
    """A fine-tuning method. The base class is plain fine-tuning of the image encoder and the head.

    Four hooks: `setup` says what is trained, `loss` what is minimised, `after_step` runs after each optimiser step, and
    `export` gives the classifier to evaluate. A method keeps no hyper-parameter outside `config` and no state outside the
    attributes named in `resumable`, which are saved with a checkpoint: tensors, dicts of tensors, torch.Generators or
    JSON values.
    """

    title: ClassVar[str]
    """as a paper writes it: 'Lipsum-FT'"""
    paper: ClassVar[str]
    """authors, venue, arXiv number"""
    version: ClassVar[int] = 1
    """part of every trial's identity: raise it when the method's results change"""
    trains: ClassVar[bool] = True
    """False: `setup` returns no phases and nothing depends on the recipe, the seed or the source domain"""
    fitted_in_setup: ClassVar[tuple[str, ...]] = ()
    """parameters that `setup` itself solves for, without steps: all that is trained where it returns no phases"""
    takes_steps: ClassVar[bool] = True
    """False: `setup` solves for everything and returns no phases, so that no step of the recipe is taken"""
    own_head: ClassVar[bool] = False
    """True: the head that is evaluated is never the zero-shot one (solved for, made anew, or rebuilt from a tuned text tower),
    so that a recipe with `freeze_head` asks for what cannot be"""
    resumable: ClassVar[tuple[str, ...]] = ()
    Config: ClassVar[type[Frozen]] = NoSettings

    def __init__(self, config: Any) -> None:
        if not isinstance(config, self.Config):
            raise TypeError(
                f"{type(self).__name__} takes a {self.Config.__qualname__}, got {type(config).__qualname__}"
            )
        self.config: Any = config

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Called once, with the zero-shot model on its device; frozen copies and own generators are made here."""
        self.label_smoothing = task.label_smoothing
        return [Phase(name="finetune", trained=tuple(name for name, _ in model.named_parameters()))]

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """Named losses of a batch; 'loss' is minimised. The base class: cross-entropy, as 'ce' and 'loss'."""
        ce = self.cross_entropy(model(batch.images), batch.labels)
        return {"loss": ce, "ce": ce.detach()}

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the batch, with the recipe's label smoothing; `logits` (B, K), `labels` (B,)."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def after_step(self, model: ImageClassifier, step: int) -> None:
        """Called after each optimiser step; `step` counts from 1."""

    def export(self, model: ImageClassifier) -> ImageClassifier:
        """The classifier to evaluate and save; the trained model itself unless a method averages or rebuilds it.

        A method that tunes the text tower gives its weights along (`with_text`): heads for other datasets are made of it.
        """
        return model


@dataclass(frozen=True, slots=True, kw_only=True)
class PostHocInputs:
    """What a post-hoc method gets. There is no field for test data."""

    zero_shot: StateDict
    """theta_0: encoder and zero-shot head"""
    finetuned: Mapping[str, StateDict]
    """trial id -> weights, in the manifest's order"""
    build: Callable[[StateDict], ImageClassifier]
    """a classifier in eval mode on the device, with a copy of these weights"""
    val: Callable[[int], Iterable[Batch]]
    """a pass over the reference domain's validation images in batches of a size: all of them, in a random order that is the same
    in every pass and on every worker"""
    score: Callable[[Predictor], tuple[float, float]]
    """(accuracy, NLL) of a predictor on the validation images, the work shared by all workers"""
    seed: int = 0
    zero_shot_text: StateDict = field(default_factory=dict)
    """the pre-trained text tower, where heads for other datasets are needed and the inputs have tuned theirs"""
    texts: Mapping[str, StateDict] = field(default_factory=dict)
    """trial id -> the text tower it has tuned; empty where there is none, or no need of one"""

    def combined(self, formula: Callable[[StateDict, Mapping[str, StateDict]], StateDict]) -> ImageClassifier:
        """The classifier whose weights are `formula(zero-shot, inputs by trial id)`; so are those of its text tower, if tuned.

        For methods that are a formula over any weights. What `build` gives instead has no text tower where the inputs have
        tuned theirs, and is then not measured on other datasets.
        """
        classifier = self.build(formula(self.zero_shot, self.finetuned))
        return classifier.with_text(formula(self.zero_shot_text, self.texts)) if self.texts else classifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One predictor of several that a post-hoc method derives; `name` is unique within the trial, like 'alpha=0.5'."""

    name: str
    predictor: Predictor
    parameters: Mapping[str, float] = field(default_factory=dict)


class PostHoc:
    """Derives predictors from the weights of finished trials. One hook: `derive`."""

    title: ClassVar[str]
    paper: ClassVar[str]
    version: ClassVar[int] = 1
    many: ClassVar[bool] = False
    """False: one trial for each input trial (WiSE-FT). True: one trial for all of them together (soups)"""
    fewest: ClassVar[int] = 1
    """inputs that a trial needs at least, where it combines `many`"""
    Config: ClassVar[type[Frozen]] = NoSettings

    def __init__(self, config: Any) -> None:
        if not isinstance(config, self.Config):
            raise TypeError(
                f"{type(self).__name__} takes a {self.Config.__qualname__}, got {type(config).__qualname__}"
            )
        self.config: Any = config

    def derive(self, inputs: PostHocInputs) -> Sequence[Variant]:
        """The predictors to evaluate. All are evaluated in one pass over the images."""
        raise NotImplementedError
