"""Renders whole views in chunks of rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.nerf.cpu_render import RenderedRays, can_render, render_rays
from depthrf.nerf.model import RadianceField
from depthrf.nerf.rays import Bounds, RayBatch, view_rays


@dataclass(frozen=True)
class RenderedView:
    """rgb (H, W, 3) uint8; depth (H, W) median z-depth and accumulation (H, W), float32, normalised scene."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    accumulation: NDArray[np.float32]


@torch.no_grad()
def render_view(
    model: RadianceField, view: View, bounds: Bounds, *, chunk_rays: int = 8192, compiled: bool = True
) -> RenderedView:
    """Renders a view whose pose is of the normalised scene, with the mean appearance.

    ``compiled``: on the CPU, with a kernel whose compilation takes some seconds once, which few small views do not pay.
    """
    device = model.appearance.device
    rays = view_rays(view, bounds, device)
    render = render_rays if compiled and can_render(model) else _render_with_model
    parts = []
    for first in range(0, len(rays.origins), chunk_rays):
        parts.append(render(model, rays.part(slice(first, first + chunk_rays))))
    rgb = np.concatenate([p.rgb for p in parts])
    height, width = view.camera.height, view.camera.width
    return RenderedView(
        (rgb.clip(0.0, 1.0) * 255.0).round().astype(np.uint8).reshape(height, width, 3),
        np.concatenate([p.depth_median for p in parts]).reshape(height, width),
        np.concatenate([p.accumulation for p in parts]).reshape(height, width),
    )


def _render_with_model(model: RadianceField, rays: RayBatch) -> RenderedRays:
    output = model(rays)
    return RenderedRays(*(v.cpu().numpy() for v in (output.rgb, output.depth_median, output.accumulation)))


def colorise_depth(depth: NDArray[np.float32], bounds: Bounds) -> NDArray[np.uint8]:
    """z-depth (H, W) as colours (H, W, 3): near is bright, in inverse depth, the same for all frames of a scene."""
    import cv2

    # The margin that depth_bounds leaves on both sides holds hardly any surface.
    nearest, farthest = 2.0 * bounds.near, 0.5 * bounds.far
    inverse = (1.0 / np.clip(depth, nearest, farthest) - 1.0 / farthest) / (1.0 / nearest - 1.0 / farthest)
    mapped = cv2.applyColorMap((255.0 * inverse).round().astype(np.uint8), cv2.COLORMAP_TURBO)
    return np.ascontiguousarray(mapped[..., ::-1])
