"""Losses, one function each (README, "Method").

Notation: interval edges t (R, S+1), midpoints m, widths d, weights w (R, S), W their cumulative sum; D and sigma (R,)
the prior depth and its standard deviation. Every depth loss counts valid rays (D > 0) only and is finite, with finite
gradients, for any weights in [0, 1] and for batches without a valid ray.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from depthrf.nerf.options import LossOptions, UnseenOptions
from depthrf.nerf.rays import stepfun
from depthrf.nerf.rays.batch import RayBatch
from depthrf.nerf.rays.compositing import Level, ModelOutput

_EDGE_PADDING = 0.01

DepthLoss = Callable[[Level, Tensor, Tensor, LossOptions], Tensor]


def charbonnier(rgb: Tensor, target: Tensor, padding: float) -> Tensor:
    """Mean of sqrt((x - y)^2 + padding^2)."""
    return torch.sqrt((rgb - target) ** 2 + padding**2).mean()


def pixel_colors(rgb: Tensor, target: Tensor, rays_per_pixel: int) -> tuple[Tensor, Tensor]:
    """Rendered and true colours of pixels (R / rays_per_pixel, 3): means over each pixel's rays of ``rgb`` (R, 3)."""
    return rgb.view(-1, rays_per_pixel, 3).mean(1), target[::rays_per_pixel]


def interlevel(levels: list[Level]) -> Tensor:
    """Makes proposal histograms upper bounds on the field's (mip-NeRF 360 eq. 13). Gradients reach proposals only."""
    field = levels[-1]
    s, w = field.s.detach(), field.weights.detach()
    total = w.new_zeros(())
    for proposal in levels[:-1]:
        bound = stepfun.outer_measure(s, proposal.s, proposal.weights)
        total = total + ((w - bound).clamp_min(0.0) ** 2 / (w + 1e-7)).sum(-1).mean()
    return total


def cdf_depth(level: Level, depth: Tensor, sigma: Tensor, options: LossOptions) -> Tensor:
    """The Gaussian CDF bound on the cumulative weights (README, "Method").

    W and Phi are both evaluated at the far edge e of each interval. The surface has thickness
    eps = hypot(surface * D, sigma) and the bound a slack b = beta * sigma, so confident pixels bind tightly:
    near, D - b - 3 eps < e < D: max(W - Phi((e - D + b) / eps), 0)^2; far, e > D: max(Phi((e - D - b) / eps) - W, 0)^2;
    empty, e <= D - b - 3 eps: w^2. Each is averaged over its own intervals.
    """
    valid = (depth > 0)[:, None]
    depth, sigma = torch.where(valid[:, 0], depth, 1.0)[:, None], sigma[:, None]
    edge = level.t[:, 1:]
    cumulative = torch.cumsum(level.weights, dim=-1)
    upper, lower, empty = cdf_bounds(edge, depth, sigma, options)
    early = (cumulative - upper).clamp_min(0.0) ** 2
    late = (lower - cumulative).clamp_min(0.0) ** 2
    bound = _mean(early, valid & ~empty & (edge < depth)) + _mean(late, valid & (edge >= depth))
    return options.cdf_empty * _mean(level.weights**2, valid & empty) + options.cdf_bound * bound


def cdf_bounds(edge: Tensor, depth: Tensor, sigma: Tensor, options: LossOptions) -> tuple[Tensor, Tensor, Tensor]:
    """Upper bound on W before the surface, lower bound behind it, and which edges lie in empty space.

    Args:
        edge: (R, S). depth, sigma: (R, 1), depth > 0.
    """
    eps = torch.hypot(options.surface * depth, sigma)
    slack = options.cdf_slack * sigma
    upper = torch.special.ndtr((edge - depth + slack) / eps)
    lower = torch.special.ndtr((edge - depth - slack) / eps)
    return upper, lower, edge <= depth - slack - 3.0 * eps


def l2_depth(level: Level, depth: Tensor, sigma: Tensor, options: LossOptions) -> Tensor:
    """(sum_i w_i m_i - D)^2."""
    expected = (level.weights * _mid(level)).sum(-1)
    return _mean((expected - depth) ** 2, depth > 0)


def urf_depth(level: Level, depth: Tensor, sigma: Tensor, options: LossOptions) -> Tensor:
    """Urban Radiance Fields: L2, the weights near D shaped as a Gaussian of deviation eps / 3, and empty space before.

    eps is three standard deviations of the surface, hypot(surface * D, sigma). Unlike the paper's it does not shrink
    during training, because the uncertainty of the depth is known (starting ten times as wide was worse,
    benchmarks/NOTES.md).
    """
    valid = depth > 0
    centre = torch.where(valid, depth, 1.0)[:, None]
    deviation = torch.hypot(options.surface * centre, sigma[:, None])
    eps = 3.0 * deviation
    mid = _mid(level)
    cdf = torch.special.ndtr((level.t - centre) / deviation)
    near = (mid - centre).abs() < eps
    shape = torch.where(near, (level.weights - (cdf[:, 1:] - cdf[:, :-1])) ** 2, 0.0).sum(-1)
    empty = torch.where(mid < centre - eps, level.weights**2, 0.0).sum(-1)
    return l2_depth(level, depth, sigma, options) + _mean(shape + empty, valid)


def ds_nerf_depth(level: Level, depth: Tensor, sigma: Tensor, options: LossOptions) -> Tensor:
    """-sum_i log(w_i + 1e-7) exp(-(m_i - D)^2 / (2 s^2)) d_i, s = hypot(surface * D, sigma) (DS-NeRF eq. 7)."""
    valid = depth > 0
    centre = torch.where(valid, depth, 1.0)[:, None]
    variance = (options.surface * centre) ** 2 + sigma[:, None] ** 2
    width = level.t[:, 1:] - level.t[:, :-1]
    kernel = torch.exp(-((_mid(level) - centre) ** 2) / (2.0 * variance))
    return _mean(-(torch.log(level.weights + 1e-7) * kernel * width).sum(-1), valid)


def no_depth(level: Level, depth: Tensor, sigma: Tensor, options: LossOptions) -> Tensor:
    """Photometric training only."""
    return depth.new_zeros(())


DEPTH_LOSSES: dict[str, DepthLoss] = {
    "cdf": cdf_depth,
    "l2": l2_depth,
    "urf": urf_depth,
    "ds_nerf": ds_nerf_depth,
    "none": no_depth,
}


def unseen(output: ModelOutput, options: UnseenOptions) -> Tensor:
    """Rays from unseen cameras should hit compact surfaces and see smooth colours.

    Rows are n rays, then one neighbour of each, then another (``unseen.with_neighbours``). The terms are distortion,
    opacity, and the total variation of the colours c, the mean of sqrt((c_1 - c_0)^2 + (c_2 - c_0)^2 + 0.01^2). Holes
    have edges, so total variation fills what no photo shows from its surroundings, as in image inpainting (Rudin et
    al. 1992). The opacity term keeps sheets in the background's colour from hiding those edges.
    """
    field = output.levels[-1]
    distortion = stepfun.distortion(field.s, field.weights).mean()
    here, one, other = output.rgb.chunk(3)
    edges = torch.sqrt((one - here) ** 2 + (other - here) ** 2 + _EDGE_PADDING**2).mean()
    return options.distortion * distortion + options.opacity * output.accumulation.mean() + options.edges * edges


def grid_decay_rate(table: Tensor, weight: float) -> float:
    """Factor on the entries of a hash grid's table (L, T, F) that is the gradient of their decay.

    The loss is ``weight`` times the sum over all levels of the mean squared entry (Zip-NeRF, Barron et al. 2023,
    "normalized weight decay"). Because of the mean, the few entries of a coarse level count as much as the many of a
    fine one, so space that few photos constrain is filled in from the coarse levels. Adam adds it in
    passing; as a loss term it would read or write every table seven more times per step.
    """
    return 2.0 * weight / (table.shape[1] * table.shape[2])


def total_loss(
    output: ModelOutput,
    rays: RayBatch,
    appearance: Tensor,
    options: LossOptions,
    depth_factor: float | Tensor = 1.0,
    rays_per_pixel: int = 1,
) -> dict[str, Tensor]:
    """All weighted losses of a batch by name; the training objective is their sum.

    Args:
        output: The rendered batch. Rows after those of ``rays`` belong to rays from unseen cameras.
        rays: Rays of training pixels.
        appearance: The appearance embeddings of all photos.
        options: Which depth loss, and all weights.
        depth_factor: Factor on the depth loss at this step (``schedule.depth_factor``).
        rays_per_pixel: Number of consecutive rows that belong to one pixel.
    """
    known, further = slice(None, len(rays.rgb)), slice(len(rays.rgb), None)
    bounds = options.interlevel * interlevel(output.levels)
    others = {"unseen": unseen(output.part(further), options.unseen)} if len(output.rgb) > len(rays.rgb) else {}
    output = output.part(known)
    field = output.levels[-1]
    depth = DEPTH_LOSSES[options.depth](field, rays.depth, rays.sigma, options)
    return {
        "photometric": charbonnier(*pixel_colors(output.rgb, rays.rgb, rays_per_pixel), options.charbonnier),
        "interlevel": bounds,
        "distortion": options.distortion * stepfun.distortion(field.s, field.weights).mean(),
        "depth": depth_factor * options.depth_weight * depth,
        "appearance": options.appearance * (appearance**2).sum(),
        **others,
    }


def _mid(level: Level) -> Tensor:
    return 0.5 * (level.t[:, 1:] + level.t[:, :-1])


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the masked entries; 0, with zero gradient, if there are none."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)
