"""LP-FT: linear probe first, then full fine-tuning from the probe's head.

    stage 1:  W_lp = argmin_W CE(s * F_theta0(x) @ W, y) + L2 penalty          theta frozen, training/linear_probe.py
    stage 2:  L = CE(s * F_theta(x) @ W, y) ,  (theta, W) from (theta_0, W_lp)

Paper: Kumar et al., ICLR 2022, arXiv:2202.10054; one of the three head initialisations of Nam et al. (Lipsum-FT), ICLR 2024,
arXiv:2404.00860, Table 4.
Reference code: AnanyaKumar/transfer_learning@13c3e2bbb8a3 unlabeled_extrapolation/log_reg_sk.py (stage 1), baseline_train.py
(stage 2).

Deviations:
1. Stage 1 has no bias and no standardised features, and its C comes from the reference domain's validation images (ours; see
   methods/linear_probe.py).
2. Stage 2 has FT's recipe, as in Lipsum-FT; the reference sweeps its learning rate.

Cost: that of FT, and before the first step one forward pass over the training and validation images and the solver; again
after an interruption. Memory before the first step: the features, 4 N D bytes. Logged: loss, ce (the same number).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from methods.base import Method
from training.linear_probe import ProbeSettings, fit_head
from training.model import ImageClassifier
from training.types import Phase, Task


class LPFT(Method):
    """FT from the linear probe's head."""

    title: ClassVar[str] = "LP-FT"
    paper: ClassVar[str] = "Kumar et al., ICLR 2022, arXiv:2202.10054"
    fitted_in_setup: ClassVar[tuple[str, ...]] = ("head",)
    own_head: ClassVar[bool] = True

    class Config(ProbeSettings):
        """Settings of the first stage."""

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Solve for the head, then train everything."""
        fit_head(model, task, self.config)
        return super().setup(model, task)
