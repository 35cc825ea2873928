"""Renders whole views in chunks of rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.nerf.cpu_render import RenderedRays, can_render, render_rays
from depthrf.nerf.field import MlpField
from depthrf.nerf.model import RadianceField
from depthrf.nerf.precision import computes_in_bfloat16
from depthrf.nerf.rays import Bounds, RayBatch, view_rays

_KERNEL_RAYS = 2**13
_MODEL_RAYS = {"cpu": 2**8, "cuda": 2**16}  # what a batch of layers passes on should stay in a CPU's cache
_LEAST_RAYS = 32


@dataclass(frozen=True)
class RenderedView:
    """rgb (H, W, 3) uint8; depth (H, W) median z-depth and accumulation (H, W), float32, normalised scene."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    accumulation: NDArray[np.float32]


@torch.no_grad()
def render_view(
    model: RadianceField, view: View, bounds: Bounds, *, chunk_rays: int | None = None, compiled: bool = True
) -> RenderedView:
    """Renders a view whose pose is of the normalised scene, with the mean appearance.

    A pixel is the mean of its ``rays_across`` squared rays; its depth is the lower median of theirs, which is a depth
    that one of them has.

    ``chunk_rays``: rays at a time, fewer where they do not fit into a GPU's memory; None: as the device likes it.
    ``compiled``: on the CPU, with a kernel whose compilation takes some seconds once, which few small views do not pay.
    """
    device = model.appearance.device
    across, camera = model.options.rays_across, view.camera
    rays = view_rays(view.with_camera(camera.resized(across * camera.width, across * camera.height)), bounds, device)
    fused = compiled and can_render(model)
    render = render_rays if fused else _render_with_model
    chunk = chunk_rays or (_KERNEL_RAYS if fused else _MODEL_RAYS[device.type])
    parts: list[RenderedRays] = []
    first = 0
    while first < len(rays.origins):
        try:
            parts.append(render(model, rays.part(slice(first, first + chunk))))
        except torch.OutOfMemoryError:
            if chunk <= _LEAST_RAYS:
                raise
            chunk //= 2
        else:
            first += chunk
    rgb, depth, accumulation = (
        np.concatenate([getattr(p, name) for p in parts])
        .reshape(camera.height, across, camera.width, across, -1)
        .swapaxes(1, 2)
        .reshape(camera.height, camera.width, across**2, -1)
        for name in ("rgb", "depth_median", "accumulation")
    )
    return RenderedView(
        (rgb.mean(2).clip(0.0, 1.0) * 255.0).round().astype(np.uint8),
        np.sort(depth[..., 0], axis=-1)[..., (across**2 - 1) // 2],
        accumulation[..., 0].mean(-1),
    )


def _render_with_model(model: RadianceField, rays: RayBatch) -> RenderedRays:
    device = rays.origins.device
    mixed = isinstance(model.field, MlpField) and computes_in_bfloat16(device)  # wide enough to gain by it
    with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
        output = model(rays)
    return RenderedRays(*(v.cpu().numpy() for v in (output.rgb, output.depth_median, output.accumulation)))
