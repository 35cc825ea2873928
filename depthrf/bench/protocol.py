"""Options, cells and results of the benchmark on NeRF synthetic scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from depthrf import device
from depthrf.bench.view_sets import ViewSet
from depthrf.errors import UsageError
from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions
from depthrf.options import option

_LEAST_SIDE = 12  # pixels: SSIM's window is 11


@dataclass(frozen=True)
class Options:
    views: tuple[str, ...] = option(
        ("3", "6", "100"),
        "sets of training views: 6 (the first six), 26+86+2 (by number, from 0), standard-8, or random-3x10 (ten "
        "random triples)",
    )
    losses: tuple[str, ...] = option(("none", "l2", "urf", "ds_nerf", "cdf"), "depth losses to compare")
    size: int = option(400, "side of the pictures in pixels", least=8, most=4096)
    scales: int = option(
        1, "sizes to score, each half the one before; fields are trained on one size and on all", least=1, most=8
    )
    test_every: int = option(1, "score every n-th test view", least=1, most=10000)
    seed: int = option(0, "random seed of initialisation and sampling", least=0, most=2**31 - 1)
    device: str = option("auto", "where to compute", choices=device.CHOICES, identity=False)
    model: ModelOptions = option(ModelOptions, "the radiance field")
    loss: LossOptions = option(LossOptions, "loss weights")
    few_photos: FewPhotosOptions = option(FewPhotosOptions, "limits that apply to few views of an object")
    optimiser: OptimiserOptions = option(OptimiserOptions, "optimiser and schedule")


@dataclass(frozen=True)
class Cell:
    """One field to train.

    views, group: the set of training views and what ``--views`` calls it (:class:`ViewSet`). training: ``single``
    (pictures of full size only) or ``multi`` (all sizes).
    """

    views: str
    group: str
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
    """A finished cell. ``num_rays`` counts all training steps; ``settings`` holds all that decides the result."""

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


def cells(options: Options, view_sets: Sequence[ViewSet]) -> list[Cell]:
    """All fields to train, in the order of the sets of views and the losses.

    Raises:
        UsageError: A loss is unknown, or the smallest pictures would be too small to score.
    """
    known = LossOptions.__dataclass_fields__["depth"].metadata["choices"]
    if unknown := [loss for loss in options.losses if loss not in known]:
        raise UsageError(f"Unknown depth loss {', '.join(unknown)}; expected some of {', '.join(known)}")
    smallest = options.size // 2 ** (options.scales - 1)
    if smallest < _LEAST_SIDE:
        raise UsageError(
            f"--size {options.size} with --scales {options.scales} makes pictures of {smallest} pixels; scoring needs "
            f"at least {_LEAST_SIDE}. Use a larger --size or a smaller --scales."
        )
    trainings = ("single", "multi") if options.scales > 1 else ("single",)
    return [Cell(s.name, s.group, loss, t) for s in view_sets for loss in options.losses for t in trainings]
