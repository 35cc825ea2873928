"""Options of the radiance field and its training, beside the code they configure but free of torch.

All lengths are in the normalised scene (``training.normalising_similarity``), where most of what the photos see lies
in the unit ball.
"""

from __future__ import annotations

from dataclasses import dataclass

from depthrf.options import option


@dataclass(frozen=True)
class GridOptions:
    """Multi-resolution hash grid (Mueller et al. 2022)."""

    levels: int = option(8, "number of resolutions", least=1)
    features: int = option(4, "features per entry", least=1)
    log2_size: int = option(17, "entries per level, as a power of two", least=1, most=30)
    coarsest: int = option(16, "cells per side at the coarsest level", least=1)
    finest: int = option(2048, "cells per side at the finest level", least=1)


@dataclass(frozen=True)
class ProposalGridOptions(GridOptions):
    """The smaller grid of a proposal network."""

    levels: int = option(5, "number of resolutions", least=1)
    features: int = option(2, "features per entry", least=1)
    log2_size: int = option(15, "entries per level, as a power of two", least=1, most=30)
    finest: int = option(256, "cells per side at the finest level", least=1)


@dataclass(frozen=True)
class FieldOptions:
    """The radiance field: density and colour at a point."""

    kind: str = option("hash", "hash: grid and small MLPs; mlp: the published network", choices=("hash", "mlp"))
    grid: GridOptions = option(GridOptions, "hash grid of the field")
    width: int = option(64, "hidden width of the density and colour MLPs", least=1)
    depth: int = option(8, "hidden layers of the mlp field (the hash field has one)", least=1)
    geometry_features: int = option(15, "features handed from the density to the colour branch", least=1)
    view_degree: int = option(
        2, "degree of the view-direction encoding (hash: at most 4); 0: no such encoding", least=0
    )
    appearance: int = option(4, "size of the per-photo appearance embedding; 0: none", least=0)
    antialias: bool = option(False, "fade grid levels finer than a pixel's cone, in the proposals too (hash field)")
    density_bias: float = option(-1.0, "added before the density activation; lower starts emptier")


@dataclass(frozen=True)
class ProposalOptions:
    """Proposal networks: where along each ray the field is sampled."""

    num_samples: tuple[int, ...] = option((48,), "samples of each proposal round", least=1)
    grid: ProposalGridOptions = option(ProposalGridOptions, "hash grid of each proposal network (hash field)")
    width: int = option(16, "hidden width of each proposal network", least=1)
    padding: float = option(0.01, "added to the proposal histogram before resampling")


@dataclass(frozen=True)
class ModelOptions:
    """The whole model: field, proposals and how rays are sampled."""

    field: FieldOptions = option(FieldOptions, "radiance field")
    proposal: ProposalOptions = option(ProposalOptions, "proposal networks")
    num_samples: int = option(24, "field samples per ray", least=1)
    spacing: str = option("power", "spacing of the first samples along a ray", choices=("linear", "power", "inverse"))
    rays_across: int = option(1, "rays across a pixel, and as many down it, whose mean is its colour", least=1)
    background: str = option(
        "last", "behind the last sample: a colour, or its own colour", choices=("last", "white", "black")
    )


@dataclass(frozen=True)
class UnseenOptions:
    """Rays of cameras that never were (``unseen.py``), which keep few photos from leaving haze and holes."""

    share: float = option(0.0, "share of a batch's rays that are such rays instead of pixels", least=0, most=1)
    angle: float = option(3.14159, "greatest turn about the vertical, radians")
    tilt: float = option(0.4, "greatest turn up or down, radians")
    distortion: float = option(0.02, "weight of their distortion", least=0)
    opacity: float = option(0.01, "weight of their opacity", least=0)
    edges: float = option(0.03, "weight of the colour edges between neighbouring ones", least=0)
    reach: float = option(0.1, "greatest angle between neighbours, radians", least=0)


@dataclass(frozen=True)
class LossOptions:
    """Weights of the losses (``losses.py`` has the equations)."""

    depth: str = option("cdf", "depth loss", choices=("cdf", "l2", "urf", "ds_nerf", "none"))
    depth_weight: float = option(1.0, "factor on the whole depth loss", least=0)
    depth_final: float = option(
        1.0, "what this factor has shrunk to at the last step, as a share of it", least=0, most=1
    )
    cdf_empty: float = option(1.0, "cdf: weight of the empty-space term", least=0)
    cdf_bound: float = option(0.1, "cdf: weight of the Gaussian bound terms", least=0)
    cdf_slack: float = option(1.0, "cdf: slack beta, in standard deviations of the prior depth", least=0)
    surface: float = option(0.01, "thickness epsilon of a surface, as a share of its depth", least=1e-6)
    charbonnier: float = option(0.001, "padding of the Charbonnier photometric loss", least=0)
    interlevel: float = option(1.0, "weight of the proposal loss", least=0)
    distortion: float = option(0.01, "weight of the distortion loss", least=0)
    appearance: float = option(1e-3, "weight of the squared appearance embedding", least=0)
    grid_decay: float = option(0.1, "weight of the squared entries of the hash grids, means of levels", least=0)
    pose: float = option(
        1.0, "weight of the squared pose corrections (radians, normalised lengths), mean over photos", least=0
    )
    unseen: UnseenOptions = option(UnseenOptions, "rays of unseen cameras")


@dataclass(frozen=True)
class FewPhotosOptions:
    """What changes where few photos show an object before a plain background.

    They cannot tell colour that depends on the view from shape, nor haze from nothing; each ray that meets nothing
    counts, and nothing comes to know surfaces better than the depth prior.
    """

    most: int = option(9, "number of photos up to which this holds; 0: never", least=0)
    view_degree: int = option(0, "greatest degree of the view-direction encoding")
    unseen_share: float = option(0.25, "least share of rays of unseen cameras", least=0, most=1)
    pixel_jitter: float = option(1.0, "least share of a pixel's width over which rays are spread")
    rays_across: int = option(1, "greatest number of rays across a pixel", least=1)
    grid_decay: float = option(0.1, "least weight of the squared entries of the hash grids", least=0)
    depth_share: float = option(0.25, "greatest least share of a batch's rays that have a depth prior", least=0, most=1)
    contrast_share: float = option(
        0.0, "greatest least share whose pixel differs from those around it", least=0, most=1
    )
    depth_final: float = option(1.0, "least share of the depth loss's factor that is left at the last step")
    rate: float = option(1e-2, "greatest learning rate, of the first step and of the last")


@dataclass(frozen=True)
class RecastOptions:
    """Rays of pixels cast at the same surface from beside their camera (``recasting.py``)."""

    share: float = option(
        0.5, "share of a batch whose rays are cast so where their depth prior is sure", least=0, most=1
    )
    reach: float = option(
        1.0, "how far from their camera they start, as a share of the way to the next camera", least=0
    )


@dataclass(frozen=True)
class PixelOptions:
    """Which pixels a batch's rays belong to, and where they pass them (``pixel_store.py``)."""

    depth_share: float = option(
        0.25, "least share of a batch's rays that have a depth prior, where there is one", least=0, most=1
    )
    contrast_share: float = option(
        0.0, "least share whose pixel differs from those around it, where there is one", least=0, most=1
    )
    jitter: float = option(
        0.0, "share of a pixel's width over which its rays are spread; 0: its centre", least=0, most=1
    )
    recast: RecastOptions = option(RecastOptions, "rays from beside the cameras")


@dataclass(frozen=True)
class OptimiserOptions:
    """Adam with a log-linear learning rate and warm-up."""

    steps: int = option(20000, "training steps", least=1, flag=True)
    batch_rays: int = option(4096, "rays per step, one of each pixel", least=1, flag=True)
    pixels: PixelOptions = option(PixelOptions, "the pixels whose rays make up a batch")
    rate: float = option(1e-2, "first learning rate", least=1e-9)
    rate_final: float = option(1e-3, "last learning rate", least=1e-9)
    pose_rate: float = option(
        0.0, "first learning rate of corrections to the photos' poses; 0: poses are kept", least=0
    )
    average: float = option(
        0.0, "share of the steps so far whose mean weights are rendered; 0: those of the last step", least=0, most=1
    )
    split_pixels: float = option(
        0.2, "share of the steps, the last ones, that have rays_across^2 rays of each pixel", least=0, most=1
    )
    warmup_steps: int = option(100, "steps over which the learning rate rises from 1 % to its first value", least=0)
    mixed_precision: bool = option(True, "MLPs in bfloat16, where GPU or CPU computes in it; all else stays in float32")
