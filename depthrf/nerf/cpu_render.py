"""Rendering of the hash field on the CPU: one numba kernel takes each ray from its proposals to its colour.

What the model does with large tensors happens here for one ray at a time in a few cache lines, and colours are computed
only where they count. The result is that of ``RadianceField.forward`` without gradients, but for the last 0.1 % of a
ray's light, which is not followed.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from depthrf.nerf import coord, encoding
from depthrf.nerf.field import RGB_MARGIN, HashField
from depthrf.nerf.hashgrid.cpu import point_encoder
from depthrf.nerf.model import VISIBLE, RadianceField
from depthrf.nerf.proposal import HashProposal
from depthrf.nerf.rays import RayBatch

Array = NDArray[np.float32]

_RAYS_PER_TASK = 1024
_OPAQUE = np.float32(7.0)  # optical depth behind which nothing is looked at: less than 0.1 % of the light passes
_MARGIN, _WIDTH = np.float32(RGB_MARGIN), np.float32(1.0 + 2.0 * RGB_MARGIN)
_BACKGROUNDS = {"black": 0, "white": 1, "last": 2}


@dataclass(frozen=True)
class RenderedRays:
    """rgb (R, 3), depth_median (R,), accumulation (R,)."""

    rgb: Array
    depth_median: Array
    accumulation: Array


def can_render(model: RadianceField) -> bool:
    """Whether the kernel handles this model where it is now."""
    on_cpu = model.appearance.device.type == "cpu"
    return on_cpu and isinstance(model.field, HashField) and len(model.proposals) > 0


def render_rays(model: RadianceField, rays: RayBatch) -> RenderedRays:
    """Renders R rays of novel views (mean appearance)."""
    options, field = model.options, model.field
    assert isinstance(field, HashField)
    proposals = tuple(_network(p.encoding, p.mlp) for p in model.proposals if isinstance(p, HashProposal))
    directions = encoding.spherical_harmonics(rays.viewdirs, options.field.view_degree)
    split, end = options.field.geometry_features, options.field.geometry_features + directions.shape[-1]
    color_in = field.color_in.weight.detach()
    per_ray = directions @ color_in[:, split:end].T
    hidden, last = field.color_mlp[1], field.color_mlp[3]
    color = (
        np.ascontiguousarray(color_in[:, :split].T.numpy()),
        *_linear(hidden),
        *_linear(last),
    )
    # The spacing is evaluated by the model's own code on a fine table, whose steps are far below a sample's width.
    s = torch.linspace(0.0, 1.0, 4097)
    t_table = coord.t_from_s(s[None], rays.near[:1], rays.far[:1], options.spacing)[0]

    count = len(rays.origins)
    rgb, depth, accumulation = (
        np.empty((count, 3), np.float32),
        np.empty(count, np.float32),
        np.empty(count, np.float32),
    )
    kernel = _kernel(options.field.grid.features, options.proposal.grid.features)
    arguments: tuple[Any, ...] = (
        rays.origins.numpy(),
        rays.directions.numpy(),
        (rays.radii if options.field.antialias else torch.zeros_like(rays.radii)).numpy(),
        per_ray.contiguous().numpy(),
        t_table.numpy(),
        proposals,
        _network(field.encoding, field.density_mlp),
        color,
        np.array([*options.proposal.num_samples, options.num_samples]),
        np.float32(options.proposal.padding),
        np.float32(options.field.density_bias),
        np.float32(VISIBLE),
        _BACKGROUNDS[options.background],
        rgb,
        depth,
        accumulation,
    )
    # The kernel releases the GIL; numba's own parallel loops cannot take tuples of arrays.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        tasks = [
            pool.submit(kernel, first, min(first + _RAYS_PER_TASK, count), *arguments)
            for first in range(0, count, _RAYS_PER_TASK)
        ]
        for task in tasks:
            task.result()
    return RenderedRays(rgb, depth, accumulation)


def _linear(layer: Any) -> tuple[Array, Array]:
    """Weights (in, out), so that the inner loop runs over contiguous outputs, and bias (1, out)."""
    weight = np.ascontiguousarray(layer.weight.detach().T.numpy())
    if layer.bias is None:
        return weight, np.zeros((1, weight.shape[1]), np.float32)
    return weight, layer.bias.detach()[None].numpy()


def _network(grid: Any, layers: Any) -> tuple[Any, ...]:
    """Table (L * T, F), resolutions and the two layers of a grid followed by an MLP with one hidden layer."""
    return (
        grid.table.detach().flatten(0, 1).numpy(),
        np.array(grid.resolutions),
        *_linear(layers[0]),
        *_linear(layers[2]),
    )


@numba.njit(fastmath=True)
def _layer(x, row, first, weight, bias, bias_row, out, out_row, relu):  # type: ignore[no-untyped-def]
    """out[out_row] = bias[bias_row] + x[row, first:] @ weight, four inputs at a time, so that ``out`` is loaded and
    stored a quarter as often. Whole arrays are passed, because every slice costs numba an atomic reference count."""
    count, width = weight.shape
    for o in range(width):
        out[out_row, o] = bias[bias_row, o]
    whole = count - count % 4
    for i in range(0, whole, 4):
        a, b, c, d = x[row, first + i], x[row, first + i + 1], x[row, first + i + 2], x[row, first + i + 3]
        for o in range(width):
            out[out_row, o] += a * weight[i, o] + b * weight[i + 1, o] + c * weight[i + 2, o] + d * weight[i + 3, o]
    for i in range(whole, count):
        for o in range(width):
            out[out_row, o] += x[row, first + i] * weight[i, o]
    if relu:
        for o in range(width):
            out[out_row, o] = max(out[out_row, o], np.float32(0.0))


@numba.njit(fastmath=True)
def _dot(x, weight, column):  # type: ignore[no-untyped-def]
    """x[0] @ weight[:, column] of a layer with few outputs."""
    total = np.float32(0.0)
    for i in range(weight.shape[0]):
        total += x[0, i] * weight[i, column]
    return total


@numba.njit(fastmath=True)
def _grid_coordinates(ray, origins, directions, t):  # type: ignore[no-untyped-def]
    """Contracted point at depth t in the unit cube, and its norm before, at least 1 (``coord.grid_coordinates``)."""
    x = origins[ray, 0] + t * directions[ray, 0]
    y = origins[ray, 1] + t * directions[ray, 1]
    z = origins[ray, 2] + t * directions[ray, 2]
    norm = np.sqrt(max(x * x + y * y + z * z, np.float32(1.0)))
    scale = (np.float32(2.0) - np.float32(1.0) / norm) / norm * np.float32(0.25)
    half = np.float32(0.5)
    return x * scale + half, y * scale + half, z * scale + half, norm


@numba.njit(fastmath=True)
def _deviation(radius, t, norm):  # type: ignore[no-untyped-def]
    """Standard deviation of the cone in grid coordinates (``Samples.deviations`` by ``coord.grid_scale``)."""
    if radius == np.float32(0.0):
        return radius
    scale = np.float32(0.25) / (norm * norm)
    if norm > np.float32(1.0):
        scale *= (np.float32(2.0) * norm - np.float32(1.0)) ** np.float32(2.0 / 3.0)
    return np.float32(0.5) * radius * t * scale


@numba.njit(fastmath=True)
def _resample(s, w, bins, count, padding, t_table, s_new, t_new):  # type: ignore[no-untyped-def]
    """``stepfun.resample`` without jitter, and the depths of the new edges."""
    total = np.float32(0.0)
    for i in range(bins):
        total += w[i] + padding / bins
    step = total / count
    bin_, before, inside = 0, np.float32(0.0), w[0] + padding / bins
    for k in range(count + 1):
        target = step * k
        while bin_ < bins - 1 and before + inside <= target:
            before += inside
            bin_ += 1
            inside = w[bin_] + padding / bins
        share = (target - before) / max(inside, np.float32(1e-30))
        share = min(max(share, np.float32(0.0)), np.float32(1.0))
        s_new[k] = s[bin_] + share * (s[bin_ + 1] - s[bin_])
        place = s_new[k] * np.float32(len(t_table) - 1)
        low = min(int(place), len(t_table) - 2)
        t_new[k] = t_table[low] + (place - np.float32(low)) * (t_table[low + 1] - t_table[low])


@numba.njit(fastmath=True)
def _median_depth(t, w, count):  # type: ignore[no-untyped-def]
    """``render.depths``: where the cumulative weight reaches one half, what passes counting to the last interval."""
    total = np.float32(0.0)
    for i in range(count):
        total += w[i]
    half = np.float32(0.5) * max(total, np.float32(1.0))
    before = np.float32(0.0)
    for i in range(count - 1):
        if before + w[i] > half:
            return t[i] + (half - before) / w[i] * (t[i + 1] - t[i])
        before += w[i]
    rest = w[count - 1] + max(np.float32(1.0) - total, np.float32(0.0))
    return t[count - 1] + (half - before) / max(rest, np.float32(1e-30)) * (t[count] - t[count - 1])


@functools.cache
def _kernel(field_features: int, proposal_features: int) -> Any:
    """The compiled kernel for grids of these numbers of features per entry."""
    encode_field, encode_proposal = point_encoder(field_features), point_encoder(proposal_features)

    @numba.njit(fastmath=True, nogil=True)
    def render(  # type: ignore[no-untyped-def]
        first, last, origins, directions, radii, per_ray, t_table, proposals, field, color, counts,
        padding, bias, visible, background, rgb, depth, accumulation,
    ):  # fmt: skip
        rounds, most = len(counts), counts.max()
        f_table, f_res, f_w0, f_b0, f_w1, f_b1 = field
        c_w0, c_w1, c_b1, c_w2, c_b2 = color
        s, s_new = np.empty(most + 1, np.float32), np.empty(most + 1, np.float32)
        t, w = np.empty(most + 1, np.float32), np.empty(most, np.float32)
        encoded = np.empty((1, f_w0.shape[0]), np.float32)
        hidden = np.empty((1, f_w0.shape[1]), np.float32)
        outputs = np.empty((counts[-1], f_w1.shape[1]), np.float32)
        p_encoded = np.empty((1, proposals[0][2].shape[0]), np.float32)
        p_hidden = np.empty((1, proposals[0][2].shape[1]), np.float32)
        color_a, color_b = np.empty((1, c_w0.shape[1]), np.float32), np.empty((1, c_w1.shape[1]), np.float32)
        sample = np.empty(3, np.float32)
        for ray in range(first, last):
            norm = np.sqrt(directions[ray, 0] ** 2 + directions[ray, 1] ** 2 + directions[ray, 2] ** 2)
            s[0], s[1], w[0] = 0.0, 1.0, 1.0
            bins = 1
            for r in range(rounds):
                count = counts[r]
                _resample(s, w, bins, count, padding if r else np.float32(0.0), t_table, s_new, t)
                bins = count
                for i in range(count + 1):
                    s[i] = s_new[i]
                optical = np.float32(0.0)
                p_table, p_res, p_w0, p_b0, p_w1, p_b1 = proposals[min(r, rounds - 2)]
                end = count
                for i in range(count):
                    if optical > _OPAQUE:
                        w[i] = np.float32(0.0)
                        end = min(end, i)
                        continue
                    mid = np.float32(0.5) * (t[i] + t[i + 1])
                    x, y, z, far = _grid_coordinates(ray, origins, directions, mid)
                    deviation = _deviation(radii[ray], mid, far)
                    if r < rounds - 1:
                        encode_proposal(x, y, z, deviation, p_table, p_res, p_encoded)
                        _layer(p_encoded, 0, 0, p_w0, p_b0, 0, p_hidden, 0, True)
                        raw = p_b1[0, 0] + _dot(p_hidden, p_w1, 0)
                    else:
                        encode_field(x, y, z, deviation, f_table, f_res, encoded)
                        _layer(encoded, 0, 0, f_w0, f_b0, 0, hidden, 0, True)
                        _layer(hidden, 0, 0, f_w1, f_b1, 0, outputs, i, False)
                        raw = outputs[i, 0]
                    density = np.exp(min(raw + bias, np.float32(15.0)))
                    length = density * (t[i + 1] - t[i]) * norm
                    w[i] = np.exp(-optical) * (np.float32(1.0) - np.exp(-length))
                    optical += length

            total = np.float32(0.0)
            red, green, blue = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for i in range(end):
                total += w[i]
                if w[i] > visible or i == end - 1:
                    _layer(outputs, i, 1, c_w0, per_ray, ray, color_a, 0, True)
                    _layer(color_a, 0, 0, c_w1, c_b1, 0, color_b, 0, True)
                    for c in range(3):
                        sample[c] = _WIDTH / (np.float32(1.0) + np.exp(-c_b2[0, c] - _dot(color_b, c_w2, c))) - _MARGIN
                    red += w[i] * sample[0]
                    green += w[i] * sample[1]
                    blue += w[i] * sample[2]
            passed = np.float32(1.0) - total
            if background == 1:
                sample[:] = np.float32(1.0)
            elif background == 0:
                sample[:] = np.float32(0.0)
            rgb[ray, 0] = red + passed * sample[0]
            rgb[ray, 1] = green + passed * sample[1]
            rgb[ray, 2] = blue + passed * sample[2]
            accumulation[ray] = total
            depth[ray] = _median_depth(t, w, bins)

    return render
