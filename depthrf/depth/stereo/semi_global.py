"""Semi-global matching (Hirschmueller 2008) with all scanlines of a direction at once."""

from __future__ import annotations

import torch
from torch import Tensor


def semi_global(cost: Tensor, gray: Tensor, *, small: float, large: float, edge: float = 0.04) -> Tensor:
    """Aggregated costs: the mean over eight directions r of (eq. 14)

        L_r(p, d) = C(p, d) + min(L_r(p-r, d), L_r(p-r, d±1) + P1, min_i L_r(p-r, i) + P2) - min_i L_r(p-r, i)

    Args:
        cost: (D, H, W), in [0, 1].
        gray: (H, W) photo in [0, 1]; a jump of depth costs less across its edges.
        small: P1, for a change by one hypothesis.
        large: P2, for larger changes; never below P1.
        edge: Difference of neighbouring grey values that halves P2.

    Returns:
        (D, H, W).
    """
    volume = cost.permute(1, 2, 0).contiguous()
    vertical = _both_ways(volume, gray, (-1, 0, 1), small, large, edge)
    horizontal = _both_ways(volume.transpose(0, 1).contiguous(), gray.T, (0,), small, large, edge)
    return ((vertical + horizontal.transpose(0, 1)) / 8.0).permute(2, 0, 1)


def _both_ways(cost: Tensor, gray: Tensor, slants: tuple[int, ...], small: float, large: float, edge: float) -> Tensor:
    forward = _sweep(cost, gray, slants, small, large, edge)
    return forward + _sweep(cost.flip(0), gray.flip(0), slants, small, large, edge).flip(0)


def _sweep(cost: Tensor, gray: Tensor, slants: tuple[int, ...], small: float, large: float, edge: float) -> Tensor:
    """Sum over paths that go down the rows, moving ``slant`` columns a row. cost: (H, W, D)."""
    height, width, depths = cost.shape
    total = cost * len(slants)
    # Paths that enter at the side start afresh there: their predecessor is column ``width``, which stays zero.
    columns = torch.arange(width, device=cost.device)
    before = torch.stack([torch.where((columns - s >= 0) & (columns - s < width), columns - s, width) for s in slants])
    path = torch.arange(len(slants), device=cost.device)[:, None]
    gray_before = torch.nn.functional.pad(gray[:-1], (0, 1), mode="replicate")[:, before]
    difference = (gray[1:, None] - gray_before).abs()
    penalty = (large / (1.0 + difference / edge)).clamp_min(small)[..., None]
    state = cost.new_zeros(len(slants), width + 1, depths)
    state[:, :width] = cost[0]
    for row in range(1, height):
        previous = state[path, before]
        least = previous.amin(-1, keepdim=True)
        previous = previous - least
        step = torch.minimum(previous, penalty[row - 1])
        step[..., 1:] = torch.minimum(step[..., 1:], previous[..., :-1] + small)
        step[..., :-1] = torch.minimum(step[..., :-1], previous[..., 1:] + small)
        state[:, :width] = step + cost[row]
        total[row] += step.sum(0)
    return total
