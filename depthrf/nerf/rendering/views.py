"""Renders whole views in chunks of rays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.nerf.fields.field import MlpField
from depthrf.nerf.model import RadianceField
from depthrf.nerf.out_of_memory import with_fewer_rays
from depthrf.nerf.precision import computes_in_bfloat16
from depthrf.nerf.rays.batch import Bounds, RayBatch, view_rays
from depthrf.nerf.rendering.adaptive import Pixels, fill_picture, lattice_neighbours, whole_picture
from depthrf.nerf.rendering.cpu import Guides, RenderedRays, can_guide, can_render, prepare, render_rays

_KERNEL_RAYS = 2**15
_MODEL_RAYS = {"cpu": 2**8, "cuda": 2**16}  # on a CPU, the activations of a chunk should stay in its cache


@dataclass(frozen=True)
class RenderedView:
    """rgb (H, W, 3) uint8; depth (H, W) median z-depth and accumulation (H, W), float32, normalised scene.

    rendered: share of the pixels that were rendered; the others were interpolated.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    accumulation: NDArray[np.float32]
    rendered: float = 1.0


@torch.no_grad()
def render_view(
    model: RadianceField,
    view: View,
    bounds: Bounds,
    *,
    chunk_rays: int | None = None,
    compiled: bool = True,
    adaptive: bool = False,
) -> RenderedView:
    """Renders a view, whose pose is that of the normalised scene, with the zero appearance vector.

    With supersampling, a pixel's colour is the mean of its rays' colours. Its depth is the lower median of theirs,
    which is a depth that one of the rays has.

    Args:
        model: The field.
        view: Camera and pose.
        bounds: Depth range of the rays.
        chunk_rays: Rays at a time, halved where memory runs out; None: a number that suits the device.
        compiled: Use the numba kernel on the CPU. Compiling it takes seconds, which does not pay for a few small views.
        adaptive: Interpolate pixels where their neighbours agree (``adaptive.py``), and share proposals. For films;
            pictures that are measured need every pixel. Only the numba kernel does it.
    """
    use_kernel = compiled and can_render(model)
    renderer = _ViewRenderer(model, view, bounds, use_kernel, chunk_rays)
    height, width = view.camera.height, view.camera.width
    if adaptive and use_kernel:
        pixels, rendered = fill_picture(height, width, renderer.render_adaptively)
    else:
        pixels, rendered = whole_picture(height, width, renderer.render), 1.0
    rgb = (pixels.rgb.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)
    return RenderedView(rgb, pixels.depth, pixels.accumulation, rendered)


class _ViewRenderer:
    """Renders pixels of one view."""

    def __init__(
        self, model: RadianceField, view: View, bounds: Bounds, use_kernel: bool, chunk_rays: int | None
    ) -> None:
        self.model, self.camera = model, view.camera
        self.prepared = prepare(model) if use_kernel else None
        self.device = model.appearance.device
        self.across = model.options.rays_across
        large = self.camera.resized(self.across * self.camera.width, self.across * self.camera.height)
        self.rays = view_rays(view.with_camera(large), bounds, self.device)
        self.chunk = chunk_rays or (_KERNEL_RAYS if use_kernel else _MODEL_RAYS[self.device.type])
        self.guides: NDArray[np.float32] | None = None  # the lattice's proposal weights (rays, S)
        self.guide_of = np.zeros(self.camera.height * self.camera.width, np.int64)  # place of a lattice pixel in them

    def render(
        self,
        pixels: NDArray[np.int64],
        *,
        guides: Guides | None = None,
        weights: NDArray[np.float32] | None = None,
    ) -> Pixels:
        """The pixels of these indices, (P,). ``guides`` and ``weights`` are those of ``render_rays``, with the
        across^2 rays of a pixel one after the other."""
        rows = torch.from_numpy(self._rays_of(pixels)).to(self.device)

        def render_chunk(first: int, count: int) -> RenderedRays:
            part = slice(first, first + count)
            rays = self.rays.part(rows[part])
            if self.prepared is None:
                return _render_with_model(self.model, rays)
            guide = Guides(guides.weights, guides.rows[part]) if guides else None
            return render_rays(self.prepared, rays, guides=guide, weights=None if weights is None else weights[part])

        parts: list[RenderedRays] = []
        first = 0
        while first < len(rows):
            part, self.chunk = with_fewer_rays(partial(render_chunk, first), self.chunk)
            parts.append(part)
            first += self.chunk
        count = self.across**2
        rgb = np.concatenate([p.rgb for p in parts]).reshape(-1, count, 3).mean(1)
        depth = np.sort(np.concatenate([p.depth_median for p in parts]).reshape(-1, count), axis=1)
        accumulation = np.concatenate([p.accumulation for p in parts]).reshape(-1, count).mean(1)
        return Pixels(rgb, depth[:, (count - 1) // 2], accumulation)

    def render_adaptively(self, pixels: NDArray[np.int64]) -> Pixels:
        """The pixels that ``fill_picture`` asks for: those of the lattice guide the others."""
        if not can_guide(self.model):
            return self.render(pixels)
        count = self.across**2
        if self.guides is None:
            self.guide_of[pixels] = np.arange(len(pixels))
            self.guides = np.empty((count * len(pixels), self.model.options.proposal.num_samples[0]), np.float32)
            return self.render(pixels, weights=self.guides)
        around = self.guide_of[lattice_neighbours(pixels, self.camera.height, self.camera.width)]
        rows = count * around[:, None] + np.arange(count)[None, :, None]
        return self.render(pixels, guides=Guides(self.guides, rows.reshape(-1, 4)))

    def _rays_of(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of the rays of pixels (P,), pixel by pixel."""
        if self.across == 1:
            return pixels
        y, x = np.divmod(pixels, self.camera.width)
        sub = np.arange(self.across)
        rows, columns = self.across * y[:, None] + sub, self.across * x[:, None] + sub
        return (rows[:, :, None] * self.across * self.camera.width + columns[:, None, :]).reshape(-1)


def _render_with_model(model: RadianceField, rays: RayBatch) -> RenderedRays:
    device = rays.origins.device
    # The layers of the hash field are too narrow to gain from it.
    mixed = isinstance(model.field, MlpField) and computes_in_bfloat16(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
        output = model(rays)
    return RenderedRays(output.rgb.cpu().numpy(), output.depth_median.cpu().numpy(), output.accumulation.cpu().numpy())
