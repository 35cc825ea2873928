"""Rendering of the hash field on the CPU with numba kernels.

The picture is that of ``RadianceField.forward`` without gradients up to two approximations: a ray ends where less than
0.1 % of its light is left, and colours are computed for mean features of neighbouring samples (``kernel.py``).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from depthrf.nerf.fields import encoding
from depthrf.nerf.fields.field import HashEncoding, HashField
from depthrf.nerf.fields.proposal import HashProposal
from depthrf.nerf.kernels.layers import Layer, packed
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import background_colour
from depthrf.nerf.rays import coord
from depthrf.nerf.rays.batch import RayBatch
from depthrf.nerf.rendering import kernel

Array = NDArray[np.float32]

_RAYS_PER_TASK = 32 * kernel.TILE


@dataclass(frozen=True)
class RenderedRays:
    """rgb (R, 3), depth_median (R,), accumulation (R,)."""

    rgb: Array
    depth_median: Array
    accumulation: Array


@dataclass(frozen=True)
class Guides:
    """Stands in for the proposals of R rays: the mean of the proposal weights of four rays nearby.

    weights (K, S): of rays that were rendered with their proposals; rows (R, 4) int64: which of them guide a ray.
    """

    weights: Array
    rows: NDArray[np.int64]


def can_guide(model: RadianceField) -> bool:
    """Whether rays can share proposal weights: after one round, whose intervals are the same for all rays."""
    return len(model.proposals) == 1


def can_render(model: RadianceField) -> bool:
    """Whether the kernel handles this model where it is now."""
    on_cpu = model.appearance.device.type == "cpu"
    return on_cpu and isinstance(model.field, HashField) and len(model.proposals) > 0


@dataclass(frozen=True)
class Prepared:
    """A model as the kernel wants it; see :func:`prepare`."""

    model: RadianceField
    proposals: tuple[Any, ...]
    field: tuple[Any, ...]
    color: tuple[Layer, Layer, Layer]


@torch.no_grad()
def prepare(model: RadianceField) -> Prepared:
    """Packs the weights of a model that :func:`can_render` knows. Later changes of them are not seen."""
    options, field = model.options, model.field
    assert isinstance(field, HashField)
    split = options.field.geometry_features + (options.field.view_degree + 1) ** 2 - 1
    color_in, (_, color_hidden, _, color_last) = field.color_in.weight[:, :split], field.color_mlp
    bias = options.field.density_bias
    return Prepared(
        model,
        tuple(_network(p.encoding, p.mlp[0], p.mlp[2], bias, vectors=1) for p in _proposals(model)),
        _network(field.encoding, field.density_mlp[0], field.density_mlp[2], bias, vectors=2),
        (packed(color_in.numpy(), None, vectors=2), _layer(color_hidden, 2), _layer(color_last, 1)),
    )


@torch.no_grad()
def render_rays(
    prepared: Prepared, rays: RayBatch, *, guides: Guides | None = None, weights: Array | None = None
) -> RenderedRays:
    """Renders R rays of novel views (zero appearance vector).

    Args:
        prepared: The model.
        rays: The rays; colours and priors are ignored.
        guides: Used in place of the proposals, where given.
        weights: (R, S) where to put the proposal weights, which can guide other rays; not with ``guides``.
    """
    options = prepared.model.options
    # The model's own code evaluates the spacing, on a table whose steps are far below a sample's width.
    s = torch.linspace(0.0, 1.0, 4097)
    t_table = coord.t_from_s(s[None], rays.near[:1], rays.far[:1], options.spacing)[0]
    count = len(rays.origins)
    rgb = np.empty((count, 3), np.float32)
    depth = np.empty(count, np.float32)
    accumulation = np.empty(count, np.float32)
    radii = rays.radii if options.field.antialias else torch.zeros_like(rays.radii)
    arguments: tuple[Any, ...] = (
        tuple(part.contiguous().numpy() for part in (rays.origins, rays.directions, radii)),
        encoding.spherical_harmonics(rays.viewdirs, options.field.view_degree).contiguous().numpy(),
        t_table.numpy(),
        prepared.proposals,
        prepared.field,
        prepared.color,
        np.array([*options.proposal.num_samples, options.num_samples]),
        np.float32(options.proposal.padding),
        options.background == "last",
        guides.rows if guides else np.empty((0, 4), np.int64),
        guides.weights if guides else weights if weights is not None else np.empty((0, 0), np.float32),
        rgb,
        depth,
        accumulation,
    )
    render = kernel.compiled(options.field.grid.features, options.proposal.grid.features)
    # The kernel releases the GIL; numba's own parallel loops cannot take tuples of arrays.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        tasks = [
            pool.submit(render, first, min(first + _RAYS_PER_TASK, count), *arguments)
            for first in range(0, count, _RAYS_PER_TASK)
        ]
        for task in tasks:
            task.result()
    if (colour := background_colour(options.background)) is not None:
        rgb += (1.0 - accumulation)[:, None] * np.array(colour, np.float32)
    return RenderedRays(rgb, depth, accumulation)


def _proposals(model: RadianceField) -> list[HashProposal]:
    return [p for p in model.proposals if isinstance(p, HashProposal)]


def _network(
    grid: HashEncoding, first: nn.Module, second: nn.Module, density_bias: float, *, vectors: int
) -> tuple[Any, ...]:
    """Table (L * T, F), resolutions, and the two layers behind a grid; the log-density comes last."""
    table = grid.table.flatten(0, 1).numpy()
    return table, np.array(grid.resolutions), _layer(first, 2), _layer(second, vectors, density_bias)


def _layer(layer: nn.Module, vectors: int, density_bias: float | None = None) -> Layer:
    """A linear layer. With a density bias, its first output becomes the last one, with that added."""
    assert isinstance(layer, nn.Linear)
    weight, bias = layer.weight.detach(), torch.zeros(layer.out_features)
    if layer.bias is not None:
        bias = layer.bias.detach().clone()
    if density_bias is not None:
        weight, bias = weight.roll(-1, 0), bias.roll(-1, 0)
        bias[-1] += density_bias
    return packed(weight.numpy(), bias.numpy(), vectors=vectors)
