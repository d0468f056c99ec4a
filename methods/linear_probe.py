"""Linear probe: a new head on the frozen image encoder, solved to convergence; nothing else is trained.

    min_W  CE(s * F_theta0(x) @ W, y) + L2 penalty ,  penalty strength chosen on the reference domain's validation images

Solver and exact objective: training/linear_probe.py.

Paper: Radford et al., ICML 2021, arXiv:2103.00020, section 3.2 (logistic regression by L-BFGS, C swept on validation); a
baseline of Nam et al. (Lipsum-FT), ICLR 2024, arXiv:2404.00860, whose solver, regularisation and features are not stated.
Reference code: AnanyaKumar/transfer_learning@13c3e2bbb8a3 unlabeled_extrapolation/log_reg_sk.py (scikit-learn, warm start, C
of the best validation accuracy).

Deviations, all ours:
1. No bias and normalised features after the projection, so that the probe is a head of the same classifier as every other
   method's. CLIP's own probes read the features before the projection; the reference standardises them and has a bias.
2. C from 1e-2 to 1e4, one per decade, on features of norm 1 (C = 0.316 of CLIP's README, on features of norm
   about 10, is about 30). Of equal accuracies the lower NLL wins; the reference takes the smallest C.
3. No augmentation and no label smoothing, whatever the recipe says. The result depends on neither recipe nor seed.

Cost: no step. One forward pass over the training and validation images, then a few hundred passes over the features for each
C; memory: the features, 4 N D bytes. Logged (log.txt): accuracy and NLL on validation for each C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from methods.base import Method
from training.linear_probe import ProbeSettings, fit_head
from training.model import ImageClassifier
from training.types import Phase, Task


class LinearProbe(Method):
    """Logistic regression on frozen features."""

    title: ClassVar[str] = "Linear probe"
    paper: ClassVar[str] = "Radford et al., ICML 2021, arXiv:2103.00020"
    fitted_in_setup: ClassVar[tuple[str, ...]] = ("head",)
    takes_steps: ClassVar[bool] = False
    own_head: ClassVar[bool] = True

    class Config(ProbeSettings):
        """Settings of the solver."""

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """Solve for the head; no phases."""
        fit_head(model, task, self.config)
        return []
