"""A wall that three cameras look at, small fields and their trainers: what tests of training share."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.transforms import look_at
from depthrf.nerf.fields.field import HashField
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import (
    FieldOptions,
    GridOptions,
    LossOptions,
    ModelOptions,
    OptimiserOptions,
    ProposalGridOptions,
    ProposalOptions,
)
from depthrf.nerf.rays.batch import Bounds
from depthrf.nerf.rays.pixel_store import PixelStore
from depthrf.nerf.training.loop import Trainer

CPU = torch.device("cpu")
BOUNDS = Bounds(0.5, 4.0)
SMALL = ModelOptions(
    field=FieldOptions(grid=GridOptions(levels=4, log2_size=12, finest=128), width=16),
    proposal=ProposalOptions(num_samples=(24,), grid=ProposalGridOptions(levels=3, log2_size=10, finest=32)),
    num_samples=12,
)
MLP = ModelOptions(
    field=FieldOptions(kind="mlp", width=32, depth=4),
    proposal=ProposalOptions(num_samples=(16, 16), width=16),
    num_samples=8,
)


def wall_views() -> list[View]:
    up = np.array([0.0, -1.0, 0.0])
    camera = Camera(24, 18, 24.0, 24.0, 12.0, 9.0)
    return [
        View(f"{i}.png", camera, look_at(np.array([x, 0.0, -1.0]), np.zeros(3), up))
        for i, x in enumerate((-0.4, 0.0, 0.4))
    ]


def wall_pixels() -> tuple[list[NDArray[np.uint8]], list[DepthPrior]]:
    """A wall at world z = 0 whose colour is a smooth function of the place: colours and depths are exact."""
    images, priors = [], []
    for view in wall_views():
        directions = view.camera.directions(view.camera.pixel_centres()) @ view.world_from_cam[:3, :3].T
        depth = -view.centre[2] / directions[..., 2]
        points = view.centre + depth[..., None] * directions
        rgb = 0.5 + 0.4 * np.sin(4.0 * points[..., [0, 1, 0]] + np.array([0.0, 1.0, 2.0]))
        images.append((rgb * 255).round().astype(np.uint8))
        priors.append(DepthPrior(depth.astype(np.float32), np.full_like(depth, 0.01, dtype=np.float32)))
    return images, priors


def wall_store() -> PixelStore:
    return PixelStore(wall_views(), *wall_pixels(), bounds=BOUNDS, device=CPU)


def hazy_field(density: float, background: str) -> RadianceField:
    """A field of the same density everywhere, whose colour varies from place to place, with many samples a ray."""
    torch.manual_seed(0)
    model = RadianceField(replace(SMALL, num_samples=48, background=background), num_photos=3)
    for table in model.grids:
        torch.nn.init.normal_(table)
    assert isinstance(model.field, HashField)
    last = model.field.density_mlp[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight[0] = 0.0
        last.bias[0] = math.log(density) - SMALL.field.density_bias
    return model


def trainer(
    model_options: ModelOptions, steps: int, loss: LossOptions | None = None, *, average: float = 0.0
) -> Trainer:
    torch.manual_seed(0)
    model = RadianceField(model_options, num_photos=3)
    options = OptimiserOptions(steps=steps, batch_rays=256, warmup_steps=10, mixed_precision=False, average=average)
    return Trainer(model, options, loss or LossOptions(), seed=0)
