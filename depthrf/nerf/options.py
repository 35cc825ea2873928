"""Options of the radiance field and its training. This module does not import torch.

Lengths are in the normalised scene (``normalise.normalising_similarity``), where nearly everything the photos show
lies in the unit ball.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from depthrf.errors import UsageError
from depthrf.options import option

_COLOURS = {"white": "#ffffff", "black": "#000000"}


def background_colour(background: str) -> tuple[float, float, float] | None:
    """Red, green and blue in [0, 1] of a background; None for ``last``, which has no colour of its own.

    Raises:
        UsageError: It is neither ``last``, ``white``, ``black`` nor ``#rrggbb``.
    """
    if background == "last":
        return None
    colour = _COLOURS.get(background, background)
    if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise UsageError(f"A background is last, white, black or a colour such as #f0f0f0; found {background[:40]!r}")
    red, green, blue = (int(colour[first : first + 2], 16) / 255.0 for first in (1, 3, 5))
    return red, green, blue


@dataclass(frozen=True)
class GridOptions:
    """Multi-resolution hash grid (Mueller et al. 2022)."""

    levels: int = option(8, "number of resolutions", least=1, most=32)
    features: int = option(4, "features per entry", least=1, most=16)
    log2_size: int = option(17, "entries per level, as a power of two", least=1, most=24)
    coarsest: int = option(16, "cells per side at the coarsest level", least=1, most=65536)
    finest: int = option(2048, "cells per side at the finest level", least=1, most=2**20)


@dataclass(frozen=True)
class ProposalGridOptions(GridOptions):
    """The smaller grid of a proposal network."""

    levels: int = option(5, "number of resolutions", least=1, most=32)
    features: int = option(2, "features per entry", least=1, most=16)
    log2_size: int = option(15, "entries per level, as a power of two", least=1, most=24)
    finest: int = option(256, "cells per side at the finest level", least=1, most=2**20)


@dataclass(frozen=True)
class FieldOptions:
    """The radiance field: density and colour at a point."""

    kind: str = option("hash", "hash: grid and small MLPs; mlp: the published network", choices=("hash", "mlp"))
    grid: GridOptions = option(GridOptions, "hash grid of the field")
    width: int = option(64, "hidden width of the density and colour MLPs", least=1, most=2048)
    depth: int = option(8, "hidden layers of the mlp field (the hash field has one)", least=1, most=64)
    geometry_features: int = option(15, "features passed from the density MLP to the colour MLP", least=1, most=1024)
    view_degree: int = option(
        2, "degree of the view-direction encoding (hash: at most 4); 0: no such encoding", least=0, most=16
    )
    appearance: int = option(4, "size of the per-photo appearance embedding; 0: none", least=0, most=1024)
    antialias: bool = option(False, "fade grid levels finer than a pixel's cone, also in the proposals (hash field)")
    density_bias: float = option(
        -1.0, "added before the density activation; a lower value starts with emptier space", least=-20, most=20
    )


@dataclass(frozen=True)
class ProposalOptions:
    """Proposal networks, which decide where along each ray the field is sampled."""

    num_samples: tuple[int, ...] = option((48,), "samples of each proposal round", least=1, most=1024)
    grid: ProposalGridOptions = option(ProposalGridOptions, "hash grid of each proposal network (hash field)")
    width: int = option(16, "hidden width of each proposal network", least=1, most=2048)
    padding: float = option(0.01, "added to the proposal histogram before resampling", least=0, most=1)


@dataclass(frozen=True)
class ModelOptions:
    """The whole model: field, proposals, and how rays are sampled."""

    field: FieldOptions = option(FieldOptions, "radiance field")
    proposal: ProposalOptions = option(ProposalOptions, "proposal networks")
    num_samples: int = option(24, "field samples per ray", least=1, most=4096)
    spacing: str = option("power", "spacing of the first samples along a ray", choices=("linear", "power", "inverse"))
    rays_across: int = option(1, "supersampling: N x N rays averaged per pixel", least=1, most=16)
    background: str = option(
        "last", "what lies behind the last sample: last (its own colour), white, black or a colour as #rrggbb"
    )

    def __post_init__(self) -> None:
        background_colour(self.background)


@dataclass(frozen=True)
class UnseenOptions:
    """Regularising rays from cameras that do not exist (``rays/unseen.py``).

    They keep haze and holes out of what few photos leave open.
    """

    share: float = option(0.0, "share of each batch given to these rays", least=0, most=1)
    angle: float = option(3.14159, "largest turn about the vertical, radians", least=0, most=6.2832)
    tilt: float = option(0.4, "largest turn up or down, radians", least=0, most=1.5708)
    distortion: float = option(0.02, "weight of their distortion loss", least=0, most=1e6)
    opacity: float = option(0.01, "weight of their mean opacity", least=0, most=1e6)
    edges: float = option(0.03, "weight of colour differences between neighbouring rays", least=0, most=1e6)
    reach: float = option(0.1, "largest angle between neighbouring rays, radians", least=0, most=3.1416)


@dataclass(frozen=True)
class LossOptions:
    """Weights of the losses (``losses.py`` has the equations)."""

    depth: str = option("cdf", "depth loss", choices=("cdf", "l2", "urf", "ds_nerf", "none"))
    depth_weight: float = option(1.0, "weight of the depth loss", least=0, most=1e6)
    depth_final: float = option(1.0, "depth weight at the last step, relative to the first", least=0, most=1)
    cdf_empty: float = option(1.0, "cdf: weight of the empty-space term", least=0, most=1e6)
    cdf_bound: float = option(0.1, "cdf: weight of the Gaussian bound terms", least=0, most=1e6)
    cdf_slack: float = option(1.0, "cdf: slack beta, in standard deviations of the prior depth", least=0, most=100)
    surface: float = option(0.01, "thickness epsilon of a surface, as a share of its depth", least=1e-6, most=1)
    charbonnier: float = option(0.001, "padding of the Charbonnier photometric loss", least=0, most=1)
    interlevel: float = option(1.0, "weight of the proposal loss", least=0, most=1e6)
    distortion: float = option(0.01, "weight of the distortion loss", least=0, most=1e6)
    appearance: float = option(1e-3, "weight of the squared appearance embeddings", least=0, most=1e6)
    grid_decay: float = option(0.1, "weight decay of the hash grids, each level by its mean square", least=0, most=1e6)
    pose: float = option(
        1.0, "weight of the mean squared pose correction (radians, normalised lengths)", least=0, most=1e6
    )
    unseen: UnseenOptions = option(UnseenOptions, "regularising rays from unseen cameras")


@dataclass(frozen=True)
class FewPhotosOptions:
    """Limits on other options that apply when few photos show an object on a plain background.

    Few photos cannot tell view-dependent colour from shape, nor haze from empty space. Each ray that hits nothing
    is informative, and no amount of training finds surfaces better than the depth prior does.
    """

    max_photos: int = option(9, "largest number of photos that counts as few; 0: never", least=0, most=100_000)
    max_view_degree: int = option(0, "cap on model.field.view_degree", least=0, most=16)
    min_unseen_share: float = option(0.25, "floor of loss.unseen.share", least=0, most=1)
    min_pixel_jitter: float = option(1.0, "floor of optimiser.pixels.jitter", least=0, most=1)
    max_rays_across: int = option(1, "cap on model.rays_across", least=1, most=16)
    min_grid_decay: float = option(0.1, "floor of loss.grid_decay", least=0, most=1e6)
    max_depth_share: float = option(0.25, "cap on optimiser.pixels.depth_share", least=0, most=1)
    max_contrast_share: float = option(0.0, "cap on optimiser.pixels.contrast_share", least=0, most=1)
    min_depth_final: float = option(1.0, "floor of loss.depth_final", least=0, most=1)
    max_rate: float = option(1e-2, "cap on optimiser.rate and optimiser.rate_final", least=1e-9, most=1)


@dataclass(frozen=True)
class RecastOptions:
    """Rays cast at the surface of a pixel from beside its camera (``rays/recasting.py``)."""

    share: float = option(0.5, "share of each batch that is recast, where the depth prior is certain", least=0, most=1)
    reach: float = option(
        1.0, "largest distance from the camera, relative to the distance between neighbouring cameras", least=0, most=10
    )


@dataclass(frozen=True)
class PixelOptions:
    """Which pixels make up a batch, and where their rays pass through them (``rays/pixel_store.py``)."""

    depth_share: float = option(0.25, "share of each batch drawn only from pixels with a depth prior", least=0, most=1)
    contrast_share: float = option(
        0.0, "share of each batch drawn only from pixels that differ from their neighbours", least=0, most=1
    )
    jitter: float = option(
        0.0, "random offset of a ray within its pixel, as a share of the pixel's width; 0: centre", least=0, most=1
    )
    recast: RecastOptions = option(RecastOptions, "rays from beside the cameras")


@dataclass(frozen=True)
class OptimiserOptions:
    """Adam with a log-linear learning rate and warm-up."""

    steps: int = option(20000, "training steps", least=1, most=100_000_000, flag=True)
    batch_rays: int = option(4096, "pixels per step, each with one ray unless split", least=1, most=2**24, flag=True)
    pixels: PixelOptions = option(PixelOptions, "how a batch's pixels are drawn")
    rate: float = option(1e-2, "first learning rate", least=1e-9, most=1)
    rate_final: float = option(1e-3, "last learning rate", least=1e-9, most=1)
    pose_rate: float = option(
        0.0, "first learning rate of pose corrections; 0: poses stay as they are", least=0, most=1
    )
    average: float = option(
        0.0, "render the mean weights of the latest steps, this share of all; 0: of the last step", least=0, most=1
    )
    split_pixels: float = option(
        0.2, "share of the steps, the last ones, that train with rays_across^2 rays per pixel", least=0, most=1
    )
    warmup_steps: int = option(
        100, "steps over which the learning rate rises from 1 % to its first value", least=0, most=100_000_000
    )
    mixed_precision: bool = option(True, "compute MLPs in bfloat16 where that is faster; all else stays in float32")
