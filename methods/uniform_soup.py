"""Uniform soup: the mean of the weights of several fine-tuned models.

    theta = 1/N sum_i theta_i            every parameter, head included

Paper: Wortsman et al., ICML 2022, arXiv:2203.05482, section 3. Reference code: mlfoundations/model-soups@d5398f181ea5
main.py, step 3.

Deviations: (1) the sum is taken around the first model, so that a soup of copies is the copy bit for bit; the reference
adds w_i / N. (2) Integer buffers come from the first model.
Cost: no training; one copy of the weights in memory beside the inputs. It uses no validation image.
Logged: the ingredients' ids, in the trial's log.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import ClassVar

from methods.base import PostHoc, PostHocInputs, Variant
from training.weights import average

log = logging.getLogger(__name__)


class UniformSoup(PostHoc):
    """One predictor for all inputs together."""

    title: ClassVar[str] = "Uniform soup"
    paper: ClassVar[str] = "Wortsman et al., ICML 2022, arXiv:2203.05482"
    many: ClassVar[bool] = True

    def derive(self, inputs: PostHocInputs) -> Sequence[Variant]:
        """The mean of all inputs."""
        log.info("uniform soup of %s", ", ".join(inputs.finetuned))
        soup = inputs.combined(lambda _, tuned: average(list(tuned.values())))
        return [Variant(name="", predictor=soup, parameters={"num_ingredients": len(inputs.finetuned)})]
