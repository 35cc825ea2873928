"""Options, cells and results of the benchmark on LLFF scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from depthrf.nerf.options import LossOptions
from depthrf.options import option


@dataclass(frozen=True)
class Options:
    views: tuple[int, ...] = option(
        (3, 6, 9), "numbers of training photos, at equal steps among those not held out", least=3, most=10000
    )
    losses: tuple[str, ...] = option(
        ("cdf",), "depth losses to compare", choices=LossOptions.__dataclass_fields__["depth"].metadata["choices"]
    )
    size: int = option(504, "longer side of the photos in pixels", least=64, most=8192)


@dataclass(frozen=True)
class Cell:
    """One field: its scene, number of training photos and depth loss."""

    scene: str
    views: int
    loss: str

    @property
    def name(self) -> str:
        return f"{self.scene}-{self.views}-{self.loss}"


@dataclass(frozen=True)
class Result:
    """A finished cell; ``settings`` holds all that decides it. ``failed``: why there are no scores, else None."""

    cell: Cell
    psnr: float | None
    ssim: float | None
    num_test: int
    depth_sources: list[str]
    seconds: float
    settings: Mapping[str, Any]
    failed: str | None = None
