"""Step functions on a ray: histograms with edges ``t`` (R, S+1) and one value per interval, ``w`` (R, S).

``w`` are weights (they sum to at most 1 along a ray); ``t`` increases along the last axis.
"""

from __future__ import annotations

import torch
from torch import Tensor


def resample(t: Tensor, w: Tensor, num_samples: int, padding: float, jitter: Tensor | None) -> Tensor:
    """Draws ``num_samples`` new intervals from the histogram by inverting its CDF.

    Args:
        t: (R, S+1) edges.
        w: (R, S) weights >= 0; no gradient flows into the result.
        num_samples: Number of new intervals N.
        padding: Added to every weight times the interval count, so that no interval is ever left without samples.
        jitter: (R,) in [-0.5, 0.5): moves the samples of a ray by this share of their spacing; None (rendering): 0.

    Returns:
        (R, N+1) new edges, sorted; the first and last are those of ``t``.
    """
    w = w.detach() + padding / w.shape[-1]
    cdf = torch.cumsum(w, dim=-1)
    cdf = torch.cat([torch.zeros_like(cdf[:, :1]), cdf / cdf[:, -1:]], dim=-1)
    u = torch.linspace(0.0, 1.0, num_samples + 1, device=t.device, dtype=t.dtype).expand(t.shape[0], -1)
    if jitter is not None:
        # The end edges stay, so that the new histogram covers the same range.
        u = torch.cat([u[:, :1], u[:, 1:-1] + jitter[:, None] / num_samples, u[:, -1:]], dim=-1)
    return invert_cdf(u, t, cdf)


def invert_cdf(u: Tensor, t: Tensor, cdf: Tensor) -> Tensor:
    """Positions (R, N) where the piecewise-linear ``cdf`` (R, S+1) on edges ``t`` reaches ``u`` (R, N)."""
    upper = torch.searchsorted(cdf.contiguous(), u.contiguous(), right=True).clamp(1, t.shape[-1] - 1)
    c0, c1 = cdf.gather(-1, upper - 1), cdf.gather(-1, upper)
    t0, t1 = t.gather(-1, upper - 1), t.gather(-1, upper)
    fraction = ((u - c0) / (c1 - c0).clamp_min(torch.finfo(t.dtype).tiny)).clamp(0.0, 1.0)
    return t0 + fraction * (t1 - t0)


def outer_measure(t: Tensor, t_env: Tensor, w_env: Tensor) -> Tensor:
    """Upper bound on the weight in each interval of ``t`` that the histogram (t_env, w_env) allows.

    The sum of all envelope intervals that overlap the query interval (mip-NeRF 360 eq. 12). (R, S+1), (R, E+1), (R, E)
    -> (R, S).
    """
    cumulative = torch.cat([torch.zeros_like(w_env[:, :1]), torch.cumsum(w_env, dim=-1)], dim=-1)
    t_env = t_env.contiguous()
    last = t_env.shape[-1] - 1
    lower = (torch.searchsorted(t_env, t[:, :-1].contiguous(), right=True) - 1).clamp(0, last)
    upper = torch.searchsorted(t_env, t[:, 1:].contiguous(), right=False).clamp(0, last)
    return cumulative.gather(-1, upper) - cumulative.gather(-1, lower)


def distortion(t: Tensor, w: Tensor) -> Tensor:
    """Distortion of a step function, sum_ij w_i w_j |m_i - m_j| + 1/3 sum_i w_i^2 d_i (mip-NeRF 360 eq. 15), (R,).

    Computed in O(S): with sorted midpoints the double sum is 2 sum_i w_i (m_i W_{<i} - M_{<i}), where W and M are
    exclusive prefix sums of w and w m.
    """
    mid = 0.5 * (t[:, 1:] + t[:, :-1])
    weighted = w * mid
    before_w = torch.cumsum(w, dim=-1) - w
    before_m = torch.cumsum(weighted, dim=-1) - weighted
    between = 2.0 * (w * (mid * before_w - before_m)).sum(-1)
    within = (w * w * (t[:, 1:] - t[:, :-1])).sum(-1) / 3.0
    return between + within


def quantile(t: Tensor, w: Tensor, q: float) -> Tensor:
    """Position (R,) where the cumulative weight reaches the share ``q`` of the ray's total; the far end if w is 0."""
    cdf = torch.cumsum(w, dim=-1)
    total = cdf[:, -1:]
    cdf = torch.cat([torch.zeros_like(total), cdf], dim=-1)
    found = invert_cdf((q * total).expand(-1, 1), t, cdf)[:, 0]
    return torch.where(total[:, 0] > 0, found, t[:, -1])
