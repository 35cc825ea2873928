"""What a benchmark on NeRF synthetic scenes can be asked, its cells and their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from depthrf import device
from depthrf.errors import UsageError
from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions
from depthrf.options import option

_LEAST_SIDE = 12  # pixels: SSIM's window is 11

PRESETS: dict[str, dict[str, Any]] = {
    "hash": {
        "model": {
            "field": {
                "kind": "hash",
                "width": 128,
                "view_degree": 4,
                "appearance": 0,
                "density_bias": -3.0,
                "grid": {"log2_size": 19},
            },
            "proposal": {"num_samples": [128]},
            "num_samples": 48,
            "rays_across": 2,
        },
        "loss": {"distortion": 0.02, "cdf_bound": 0.3, "depth_final": 0.01, "grid_decay": 0.01},
        "optimiser": {
            "steps": 20000,
            "batch_rays": 8192,
            "pixels": {"contrast_share": 0.5},
            "rate": 2e-2,
            "rate_final": 1e-2,
            "average": 0.08,
        },
    },
    "mlp": {
        "model": {
            "field": {"kind": "mlp", "width": 256, "depth": 8, "view_degree": 4, "appearance": 0},
            "proposal": {"num_samples": [64, 64], "width": 256},
            "num_samples": 32,
        },
        "few": {"most": 0},
        "optimiser": {"steps": 50000, "batch_rays": 8192, "rate": 3e-3, "rate_final": 2e-5, "warmup_steps": 512},
    },
}
"""Settings by kind of field: ``mlp`` is the published network and schedule. Both share what follows."""

SHARED: dict[str, Any] = {
    "model": {"spacing": "linear", "background": "white"},
    # eps = 0.03 scene units at the object's distance of 4; the depth is exact, so there is no slack.
    "loss": {"surface": 0.0075, "distortion": 0.0},
    "optimiser": {"pixels": {"recast": {"share": 0.0}}},
}

SEVERAL_SCALES: dict[str, Any] = {"model": {"field": {"antialias": True}}}
"""Joins them where several sizes are scored: a hash grid alone does not know how large a pixel is."""


@dataclass(frozen=True)
class Options:
    views: tuple[int, ...] = option((3, 6, 100), "numbers of training views, the first of the scene or of ids", least=1)
    ids: tuple[int, ...] = option((), "which views these are, as numbers from 0, e.g. 26,86,2,55; left out: the first")
    losses: tuple[str, ...] = option(("none", "l2", "urf", "ds_nerf", "cdf"), "depth losses")
    size: int = option(400, "side of the pictures in pixels")
    scales: int = option(
        1, "sizes to score: 4 adds 1/2, 1/4 and 1/8, each field trained on one size and on all", least=1
    )
    test_every: int = option(1, "score every n-th test view", least=1)
    seed: int = option(0, "seed of initialisation and sampling", least=0)
    device: str = option("auto", "where to compute", choices=device.CHOICES, identity=False)
    model: ModelOptions = option(ModelOptions, "the radiance field")
    loss: LossOptions = option(LossOptions, "loss weights")
    few: FewPhotosOptions = option(FewPhotosOptions, "what changes where views are few")
    optimiser: OptimiserOptions = option(OptimiserOptions, "optimiser and schedule")


@dataclass(frozen=True)
class Cell:
    """One field to train. ``training``: ``single`` (full size) or ``multi`` (all sizes)."""

    views: int
    loss: str
    training: str

    @property
    def name(self) -> str:
        return f"{self.views}-{self.loss}" + ("-multi" if self.training == "multi" else "")


@dataclass(frozen=True)
class ScaleScore:
    """Mean scores of all test views at one size."""

    size: int
    psnr: float
    ssim: float


@dataclass(frozen=True)
class Result:
    """A finished cell; ``num_rays``: of all training steps; ``settings``: everything that decides it."""

    cell: Cell
    view_names: list[str]
    num_test: int
    scores: list[ScaleScore]
    steps: int
    num_rays: int
    train_seconds: float
    test_seconds: float
    rays_per_second: int
    device: str
    settings: dict[str, Any]


def cells(options: Options) -> list[Cell]:
    """All fields to train, fewest views first.

    Raises:
        UsageError: An unknown loss, or a number that cannot be.
    """
    known = next(f for f in LossOptions.__dataclass_fields__.values() if f.name == "depth").metadata["choices"]
    if unknown := [loss for loss in options.losses if loss not in known]:
        raise UsageError(f"Unknown depth loss {', '.join(unknown)}; expected some of {', '.join(known)}")
    if options.size // 2 ** (options.scales - 1) < _LEAST_SIDE:
        raise UsageError(
            f"--size {options.size} with --scales {options.scales} makes pictures of "
            f"{options.size // 2 ** (options.scales - 1)} pixels; {_LEAST_SIDE} are the least"
        )
    trainings = ("single", "multi") if options.scales > 1 else ("single",)
    return [Cell(views, loss, t) for views in options.views for loss in options.losses for t in trainings]
