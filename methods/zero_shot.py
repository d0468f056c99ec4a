"""Zero-shot CLIP: the pre-trained image encoder with the head made from text; nothing is trained.

    logits = s * F_theta0(x) @ W0 ,  W0 = normalised mean over the templates of the text features of each class

Paper: Radford et al., ICML 2021, arXiv:2103.00020, section 3.1.4 (prompt ensembling). Head: training/model.py.
It has no settings: templates and class names are the dataset's. Cost: no step; the texts of all classes and templates, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from methods.base import Method
from training.model import ImageClassifier
from training.types import Phase, Task


class ZeroShot(Method):
    """The reference point of every comparison."""

    title: ClassVar[str] = "Zero-shot"
    paper: ClassVar[str] = "Radford et al., ICML 2021, arXiv:2103.00020"
    trains: ClassVar[bool] = False

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """No phases."""
        return []
