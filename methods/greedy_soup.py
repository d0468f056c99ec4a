"""Greedy soup: the mean of those fine-tuned models that raise the accuracy on held-out images.

    S = {best model} ; in descending order of accuracy:  S <- S + {i}  if  acc(mean(S + {i})) > acc(mean(S))
    theta = 1/|S| sum_{i in S} theta_i          every parameter, head included; acc on the reference validation images

Paper: Wortsman et al., ICML 2022, arXiv:2203.05482, recipe 1. Reference code: mlfoundations/model-soups@d5398f181ea5
main.py, step 4: strict acceptance, and of two models with equal accuracy the later one is tried first. So the soup is
never below its best ingredient on the validation images.

Deviations: (1) the reference reads the accuracies back from a text file, which costs last digits, so that a first candidate
as good as the best model can pass its strict test; here it cannot. (2) The mean is taken anew for each candidate instead
of updated, which changes last bits. (3) Integer buffers come from the best model. The paper of Lipsum-FT chooses on the
reference *test* images; here it is always the validation images.
Cost: no training; 2N - 1 passes over the validation images for N inputs.
Logged: every accuracy and the chosen ids, in the trial's log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar

from methods.base import PostHoc, PostHocInputs, Variant
from training.greedy import greedy
from training.types import StateDict
from training.weights import average

log = logging.getLogger(__name__)


class GreedySoup(PostHoc):
    """One predictor for all inputs together."""

    title: ClassVar[str] = "Greedy soup"
    paper: ClassVar[str] = "Wortsman et al., ICML 2022, arXiv:2203.05482"
    many: ClassVar[bool] = True

    def derive(self, inputs: PostHocInputs) -> Sequence[Variant]:
        """The mean of the chosen inputs."""

        def mix(weights: Mapping[str, StateDict], chosen: Sequence[str]) -> StateDict:
            return average([weights[name] for name in chosen])

        def score(chosen: Sequence[str]) -> float:
            accuracy, _ = inputs.score(inputs.build(mix(inputs.finetuned, chosen)))
            log.info("%.4f on validation: %s", accuracy, " + ".join(chosen))
            return accuracy

        chosen = greedy({name: score((name,)) for name in inputs.finetuned}, score)
        log.info("greedy soup of %d of %d: %s", len(chosen), len(inputs.finetuned), ", ".join(chosen))
        soup = inputs.combined(lambda _, tuned: mix(tuned, chosen))
        return [Variant(name="", predictor=soup, parameters={"num_ingredients": len(chosen)})]
