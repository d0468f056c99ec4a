"""Penalties on what fine-tuning does to the energies between images and texts, as pure functions over tensors.

    v_m(x; theta) = s * < F_theta(x), t_m > ,  m = 1..M          delta = v(x; theta) - v(x; theta_0)

The texts t_m are random strings or the contexts of a dataset; they are frozen. Every function gives a scalar, a mean over
the images, in the dtype of `features`.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from training.model import TextEncoder

_MOMENT_SEED = 0
_MOMENT_CHUNK = 500
_moments: WeakKeyDictionary[TextEncoder, dict[tuple[int, int], Tensor]] = WeakKeyDictionary()


def energy_gap(features: Tensor, reference: Tensor, texts: Tensor, logit_scale: float) -> Tensor:
    """mean_x 1/(2M) || s (F(x) - F0(x)) G^T ||^2, a scalar.

    `features`, `reference`: (B, D) normalised image features now and before; `texts`: (M, D) normalised text features;
    `logit_scale`: s. Computed in the dtype of `features`. Source: Nam et al., arXiv:2404.00860, Eq. 7.
    """
    gaps = logit_scale * (features - reference) @ texts.T
    return 0.5 * gaps.square().mean(dim=1).mean()


def expected_energy_gap(features: Tensor, reference: Tensor, moment: Tensor, logit_scale: float) -> Tensor:
    """mean_x (s^2 / 2) d^T S d ,  d = F(x) - F0(x): the expectation of `energy_gap` over the texts.

    `features`, `reference`: (B, D) normalised; `moment`: (D, D), S = E[G G^T] over the distribution of the texts. With
    S = texts^T texts / M it equals `energy_gap` of these texts. With the covariance in place of S it is what `energy_kld`
    tends to at large temperature.
    """
    change = logit_scale * (features - reference)
    return 0.5 * ((change @ moment) * change).sum(dim=1).mean()


def energy_kld(
    features: Tensor, reference: Tensor, texts: Tensor, logit_scale: float, temperature: float = 1.0
) -> Tensor:
    """mean_x tau^2 KL( softmax(v0 / tau) || softmax(v / tau) ) over the M texts.

    Arguments as in `energy_gap`; `temperature`: tau. Its gradient is that of Eq. 20 in arXiv:2404.00860, which has the
    cross-entropy in place of the divergence: the two differ by tau^2 H(softmax(v0 / tau)), which does not depend on theta.

        tau -> inf :  1/(2M) sum_m delta_m^2 - 1/(2M^2) (sum_m delta_m)^2         (Eq. 21)

    Computed in float64 after the products: at large temperature the divergence is far below float32's rounding of 1.
    """
    scale = logit_scale / temperature
    now = (scale * features @ texts.T).double().log_softmax(dim=1)
    before = (scale * reference @ texts.T).double().log_softmax(dim=1)
    divergence = (before.exp() * (before - now)).sum(dim=1)
    return (temperature**2 * divergence.mean()).to(features.dtype)


def text_moment(text: TextEncoder, token_length: int, num_texts: int) -> Tensor:
    """E[G G^T], (D, D) float32 on the tower's device, estimated from `num_texts` random texts of `token_length` tokens.

    The texts are drawn from a fixed seed: the matrix belongs to the text tower, and is alike for every trial and worker. It
    is kept for as long as the tower lives.
    """
    known = _moments.setdefault(text, {})
    if (token_length, num_texts) not in known:
        generator = torch.Generator().manual_seed(_MOMENT_SEED)
        total: Tensor | float = 0.0
        for first in range(0, num_texts, _MOMENT_CHUNK):
            tokens = text.random_tokens(min(_MOMENT_CHUNK, num_texts - first), token_length, generator)
            texts = text.encode(tokens).double()
            total = total + texts.T @ texts
        known[token_length, num_texts] = (torch.as_tensor(total) / num_texts).float()
    return known[token_length, num_texts].to(text.device)
