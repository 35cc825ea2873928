"""Volume rendering of rays with S intervals between edges t (R, S+1), which are z-depths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from depthrf.nerf.options import background_colour
from depthrf.nerf.rays import stepfun


@dataclass(frozen=True)
class Level:
    """The step function of one sampling round: edges in s and t (R, S+1), weights (R, S)."""

    s: Tensor
    t: Tensor
    weights: Tensor


@dataclass(frozen=True)
class ModelOutput:
    """What a batch of R rays renders to. ``levels`` holds the proposals in order, the field's own level last.

    rgb (R, 3), in [0, 1] up to a small margin; accumulation (R,); depth_mean and depth_median (R,), z-depths in the
    normalised scene.
    """

    levels: list[Level]
    rgb: Tensor
    accumulation: Tensor
    depth_mean: Tensor
    depth_median: Tensor

    def tensors(self) -> list[Tensor]:
        """All tensors, each with R rows; :meth:`of` is the inverse."""
        levels = [x for level in self.levels for x in (level.s, level.t, level.weights)]
        return [*levels, self.rgb, self.accumulation, self.depth_mean, self.depth_median]

    def part(self, rows: slice) -> ModelOutput:
        """The output of some of the rays."""
        return self.of([x[rows] for x in self.tensors()])

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> ModelOutput:
        """The output whose :meth:`tensors` these are."""
        levels = [Level(*tensors[first : first + 3]) for first in range(0, len(tensors) - 4, 3)]
        return cls(levels, *tensors[-4:])


def weights_from_density(t: Tensor, density: Tensor, norm: Tensor) -> Tensor:
    """w_i = T_i (1 - exp(-density_i delta_i)), T_i = exp(-sum_{j<i} density_j delta_j), as in NeRF eq. 3.

    Args:
        t: (R, S+1) z-depth edges.
        density: (R, S) per unit length of the normalised scene.
        norm: (R,) length of the ray direction whose camera-z is 1.

    Returns:
        (R, S).
    """
    optical = density * (t[:, 1:] - t[:, :-1]) * norm[:, None]
    passed = torch.exp(-(torch.cumsum(optical, dim=-1) - optical))
    return passed * -torch.expm1(-optical)


def color_weights(weights: Tensor, step: float) -> Tensor:
    """Gathers a ray's light on fewer samples, so that fewer colours have to be computed (rendering only).

    A sample keeps weight where the cumulative weight passes a multiple of ``step``. It also takes over the light of the
    samples in front of it that kept none, less than ``step`` in all; the last sample takes what is left. No light is
    lost, however thinly it is spread, and none is moved across more than ``step`` of opacity.

    Args:
        weights: (R, S), with sums of at most 1.
        step: Share of the light.

    Returns:
        (R, S) with the same sums; 0 where no colour is needed.
    """
    cumulative = weights.cumsum(-1)
    passed = torch.floor(cumulative / step)
    kept = torch.diff(passed, prepend=torch.zeros_like(passed[:, :1])) > 0
    kept[:, -1] = True
    up_to_kept = torch.where(kept, cumulative, 0.0).cummax(-1).values
    return torch.diff(up_to_kept, prepend=torch.zeros_like(up_to_kept[:, :1]))


def composite(weights: Tensor, colors: Tensor, background: str) -> tuple[Tensor, Tensor]:
    """Colour (R, 3) and accumulation (R,) of interval weights (R, S) and colours (R, S, 3).

    ``background``: a colour (:func:`background_colour`), or ``last``: the light that passes all intervals ends in the
    last one, so that rays always close (real photos have no empty background).
    """
    accumulation = weights.sum(-1)
    rgb = (weights[..., None] * colors).sum(-2)
    passed, colour = 1.0 - accumulation, background_colour(background)
    if colour is None:
        return rgb + passed[:, None] * colors[:, -1], accumulation
    # Channel by channel: a recorded step cannot copy a colour from the host.
    return rgb + torch.stack([passed * channel for channel in colour], dim=-1), accumulation


def depths(level: Level) -> tuple[Tensor, Tensor]:
    """Mean and median z-depth, both (R,). Light that passes all intervals counts as ending at the far end."""
    mid = 0.5 * (level.t[:, 1:] + level.t[:, :-1])
    passed = (1.0 - level.weights.sum(-1)).clamp_min(0.0)
    mean = (level.weights * mid).sum(-1) + passed * level.t[:, -1]
    closed = torch.cat([level.weights[:, :-1], level.weights[:, -1:] + passed[:, None]], dim=-1)
    return mean, stepfun.quantile(level.t, closed, 0.5)
