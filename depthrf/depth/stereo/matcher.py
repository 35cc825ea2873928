"""Dense depth of one photo from posed photos around it: plane sweep, semi-global matching, refinement on the surface.

The sweep runs at half size, where a window spans more of the scene and errors of the poses are half as large; its
surface is then refined at half and at full size with windows that follow it. Notation: q is inverse z-depth.
"""

from __future__ import annotations

import torch
from torch import Tensor

from depthrf.depth.stereo.matching import Photo, matching_score, transfer
from depthrf.depth.stereo.neighbours import DepthRange
from depthrf.depth.stereo.options import StereoOptions
from depthrf.depth.stereo.semi_global import semi_global


def estimate(
    reference: list[Photo], others: list[list[Photo]], bounds: DepthRange, options: StereoOptions
) -> tuple[Tensor, Tensor]:
    """Depth of a photo from photos around it, not yet checked against theirs.

    Args:
        reference: The photo at half and at full size.
        others: Its neighbours, each at the same sizes.
        bounds: Depths to look between.
        options: See there.

    Returns:
        z-depth and its standard deviation from the sharpness of the match, (H, W) each, scene units, 0 = none.
    """
    coarse, fine = reference
    coarse_others, fine_others = [other[0] for other in others], [other[1] for other in others]
    q, step = _sweep(coarse, coarse_others, bounds, options)
    # Reaches: 1.5, 1 and 0.4 planes of the sweep.
    q, _, _ = _refine(coarse, coarse_others, q, 0.5 * step, 3, bounds, options)
    q = torch.nn.functional.interpolate(q[None, None], size=fine.gray.shape, mode="nearest-exact")[0, 0]
    q, _, _ = _refine(fine, fine_others, q, 0.25 * step, 4, bounds, options)
    q, sigma_q, score = _refine(fine, fine_others, q, 0.125 * step, 3, bounds, options)
    depth = 1.0 / q
    sigma = sigma_q * depth * depth
    sure = (sigma <= options.max_sigma * depth) & (score >= options.min_score)
    return torch.where(sure, depth, 0.0), torch.where(sure, sigma, 0.0)


def _sweep(reference: Photo, others: list[Photo], bounds: DepthRange, options: StereoOptions) -> tuple[Tensor, float]:
    """Inverse depth (H, W) at the planes' spacing, and that spacing."""
    near, far = 1.0 / bounds.near, 1.0 / bounds.far
    count = _plane_count(reference, others, near, far, options.max_planes)
    planes = torch.linspace(far, near, count, device=reference.gray.device)
    score = matching_score(reference, others, planes[:, None, None], radius=options.radius, best=options.best)
    total = semi_global(1.0 - score, reference.gray, small=options.small_jump, large=options.large_jump)
    index, offset, _ = _minimum(total)
    step = float(planes[1] - planes[0])
    return far + step * (index + offset), step


def _plane_count(reference: Photo, others: list[Photo], near: float, far: float, most: int) -> int:
    """Planes one pixel apart in the photo where they move farthest; at least 16."""
    moved = 0.0
    height, width = reference.gray.shape
    for other in others:
        q = torch.tensor([far, near], device=reference.gray.device)[:, None, None].expand(2, height, width)
        x, y, w = transfer(reference.view, other.view, q)
        distance = torch.hypot(x[1] - x[0], y[1] - y[0])[(w > 1e-6).all(0)]
        if distance.numel():
            moved = max(moved, float(distance.median()))
    return int(min(max(moved, 16.0), float(most)))


def _refine(
    reference: Photo,
    others: list[Photo],
    q: Tensor,
    step: float,
    reach: int,
    bounds: DepthRange,
    options: StereoOptions,
) -> tuple[Tensor, Tensor, Tensor]:
    """Looks ``reach`` steps to either side of the surface q (H, W); returns q, its standard deviation, and the NCC."""
    base = _smooth(q)
    offsets = torch.arange(-reach, reach + 1, device=q.device, dtype=q.dtype) * step
    hypotheses = (base + offsets[:, None, None]).clamp(1.0 / bounds.far, 1.0 / bounds.near)
    score = matching_score(reference, others, hypotheses, radius=options.radius, best=options.best)
    cost = 1.0 - score
    total = semi_global(cost, reference.gray, small=options.small_jump, large=options.large_jump)
    index, offset, _ = _minimum(total)
    refined = (base + (index - reach + offset) * step).clamp(1.0 / bounds.far, 1.0 / bounds.near)
    _, _, curvature = _minimum(cost, index)
    found = score.gather(0, index[None])[0]
    noise = options.match_noise * (1.0 - found) + 1e-4
    sigma = step * torch.sqrt(noise / curvature.clamp_min(1e-6))
    return refined, sigma, found


def _minimum(cost: Tensor, index: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Index (H, W) of the least cost, offset of the parabola through it and its neighbours, and its curvature."""
    if index is None:
        index = cost.argmin(0)
    inner = index.clamp(1, cost.shape[0] - 2)
    before = cost.gather(0, inner[None] - 1)[0]
    at = cost.gather(0, inner[None])[0]
    after = cost.gather(0, inner[None] + 1)[0]
    curvature = before - 2.0 * at + after
    offset = (0.5 * (before - after) / curvature.clamp_min(1e-9)).clamp(-0.5, 0.5)
    return index, torch.where(inner == index, offset, 0.0), curvature


def _smooth(q: Tensor) -> Tensor:
    """Median of 3 x 3."""
    padded = torch.nn.functional.pad(q[None, None], (1, 1, 1, 1), mode="replicate")
    windows = torch.nn.functional.unfold(padded, 3)[0]
    return windows.median(0).values.reshape(q.shape)
