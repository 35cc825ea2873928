"""The CPU renderer's kernel: tiles of rays from their first samples to their colours, as one numba function.

A tile's rays go through each stage together, so that weights and table entries are used many times while they are in
the cache. The stages are those of ``RadianceField.forward`` without jitter:

1. Proposals are evaluated in waves of a few samples of every ray, front to back. Opaque rays drop out after each wave.
2. So are the field's densities and features, at the samples that the proposals' weights ask for.
3. Features are averaged over every ``COLOR_STEP`` of a ray's opacity, and one colour is computed for each average.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from depthrf.nerf.fields.field import RGB_MARGIN
from depthrf.nerf.kernels import layers
from depthrf.nerf.kernels.layers import POINTS, encoder, exponential, hidden_layer, narrow_layer, wide_layer
from depthrf.nerf.kernels.vectors import ROWS

TILE = 32  # rays
WAVE = POINTS // TILE  # samples of a ray

COLOR_STEP = 0.05
"""Share of a ray's light for which one colour is computed."""

_TRANSPARENT = np.float32(1e-3)  # where no more light passes, the rest ends in the sample reached
_MARGIN, _WIDTH = np.float32(RGB_MARGIN), np.float32(1.0 + 2.0 * RGB_MARGIN)
_ZERO, _ONE, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)


@numba.njit(fastmath=True)
def _opacities(raw, column, count, length, out):  # type: ignore[no-untyped-def]
    """1 - exp(-density * length) of points whose log-density is ``column`` of raw (N, C)."""
    for n in range(count):
        out[n] = min(raw[n, column], np.float32(15.0))
    for n in range(count):
        optical = exponential(out[n]) * length[n]
        out[n] = optical if optical < np.float32(1e-3) else _ONE - exponential(-optical)


@numba.njit(fastmath=True)
def _resample(row, bins, count, padding, t_table, s, w, s_new, t):  # type: ignore[no-untyped-def]
    """``stepfun.resample`` without jitter of row ``row`` of s and w, in place, and the depths of the new edges."""
    total = _ZERO
    for i in range(bins):
        total += w[row, i] + padding / bins
    step = total / count
    bin_, before, inside = 0, _ZERO, w[row, 0] + padding / bins
    for k in range(count + 1):
        target = step * k
        while bin_ < bins - 1 and before + inside <= target:
            before += inside
            bin_ += 1
            inside = w[row, bin_] + padding / bins
        share = (target - before) / max(inside, np.float32(1e-30))
        share = min(max(share, _ZERO), _ONE)
        s_new[k] = s[row, bin_] + share * (s[row, bin_ + 1] - s[row, bin_])
        place = s_new[k] * np.float32(len(t_table) - 1)
        low = min(int(place), len(t_table) - 2)
        t[row, k] = t_table[low] + (place - np.float32(low)) * (t_table[low + 1] - t_table[low])
    for k in range(count + 1):
        s[row, k] = s_new[k]


@numba.njit(fastmath=True)
def _guided(row, bins, start, guides, weights, s, w):  # type: ignore[no-untyped-def]
    """Row ``row`` of s and w from the mean of the proposal weights of the four rays that guide it."""
    a, b, c, d = guides[start + row, 0], guides[start + row, 1], guides[start + row, 2], guides[start + row, 3]
    for i in range(bins):
        s[row, i] = np.float32(i) / np.float32(bins)
        w[row, i] = np.float32(0.25) * (weights[a, i] + weights[b, i] + weights[c, i] + weights[d, i])
    s[row, bins] = _ONE


@numba.njit(fastmath=True)
def _wave_points(start, rows, num_rows, first, last, rays, t, norms, u, deviation, length):  # type: ignore[no-untyped-def]
    """Points u in the unit cube, deviations and lengths of the samples first to last of some of the tile's rays.

    Deviations are those of the cone in grid coordinates (``Samples.deviations`` by ``coord.grid_scale``).
    """
    origins, directions, radii = rays
    count = last - first
    for a in range(num_rows):
        row, at = rows[a], a * count
        ray = start + row
        x, y, z = origins[ray, 0], origins[ray, 1], origins[ray, 2]
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        norm, radius = norms[row], radii[ray]
        for i in range(count):
            near, far = t[row, first + i], t[row, first + i + 1]
            mid = _HALF * (near + far)
            px, py, pz = x + mid * dx, y + mid * dy, z + mid * dz
            away = np.sqrt(max(px * px + py * py + pz * pz, _ONE))
            scale = (np.float32(2.0) - _ONE / away) / away * np.float32(0.25)
            u[0, at + i], u[1, at + i], u[2, at + i] = px * scale + _HALF, py * scale + _HALF, pz * scale + _HALF
            length[at + i], deviation[at + i] = (far - near) * norm, away
        for i in range(count):
            if radius > _ZERO:
                away, mid = deviation[at + i], _HALF * (t[row, first + i] + t[row, first + i + 1])
                scale = np.float32(0.25) / (away * away) * (np.float32(2.0) * away - _ONE) ** np.float32(2.0 / 3.0)
                deviation[at + i] = _HALF * radius * mid * scale
            else:
                deviation[at + i] = _ZERO
    return num_rows * count


@numba.njit(fastmath=True)
def _median_depth(t, w, row, count):  # type: ignore[no-untyped-def]
    """``compositing.depths``: where the cumulative weight reaches one half; what passes ends in the last interval."""
    total = _ZERO
    for i in range(count):
        total += w[row, i]
    half = _HALF * max(total, _ONE)
    before = _ZERO
    for i in range(count - 1):
        if before + w[row, i] > half:
            return t[row, i] + (half - before) / w[row, i] * (t[row, i + 1] - t[row, i])
        before += w[row, i]
    rest = w[row, count - 1] + max(_ONE - total, _ZERO)
    width = t[row, count] - t[row, count - 1]
    return t[row, count - 1] + (half - before) / max(rest, np.float32(1e-30)) * width


@functools.cache
def compiled(field_features: int, proposal_features: int) -> Any:
    """The kernel for hash grids with these numbers of features per entry."""
    encode_field, encode_proposal = encoder(field_features), encoder(proposal_features)
    room, groups = layers.room(POINTS), layers.room(TILE * (int(1.0 / COLOR_STEP) + 2))

    @numba.njit(fastmath=True, nogil=True)
    def render(  # type: ignore[no-untyped-def]
        first, last, rays, harmonics, t_table, proposals, field, color, counts, padding, closes, guides, weights, rgb,
        depth, accumulation,
    ):  # fmt: skip
        table, resolutions, field_hidden, field_last = field
        color_first, color_hidden, color_last = color
        directions = rays[1]
        num_features, num_harmonics = color_first[0].shape[1] - harmonics.shape[1], harmonics.shape[1]
        count, most = counts[-1], counts.max()
        norm, passed = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
        s, t = np.empty((TILE, most + 1), np.float32), np.empty((TILE, most + 1), np.float32)
        w = np.empty((TILE, most), np.float32)
        s_new, alive = np.empty(most + 1, np.float32), np.empty(TILE, np.int64)
        # The samples of a wave.
        u, deviation = np.empty((3, POINTS), np.float32), np.empty(POINTS, np.float32)
        length, opacity = np.empty(POINTS, np.float32), np.empty(POINTS, np.float32)
        index, corner = np.empty((8, POINTS), np.uint32), np.empty((8, POINTS), np.float32)
        encoded = np.zeros((room, field_hidden[0].shape[1]), np.float32)
        output = np.zeros((room, len(field_last[1])), np.float32)
        p_encoded = np.zeros((room, proposals[0][2][0].shape[1]), np.float32)
        p_output = np.zeros((room, len(proposals[0][3][1])), np.float32)
        # The layers between, of a few points.
        hidden = np.zeros((ROWS, len(field_hidden[1])), np.float32)
        p_hidden = np.zeros((ROWS, len(proposals[0][2][1])), np.float32)
        layer_0 = np.zeros((ROWS, len(color_first[1])), np.float32)
        layer_1 = np.zeros((ROWS, len(color_hidden[1])), np.float32)
        # The colours of a tile: each stands for the weight and the mean features of a group of samples.
        pending, features = np.empty(TILE, np.float32), np.empty((TILE, num_features), np.float32)
        group_ray, group_weight = np.empty(groups, np.int64), np.empty(groups, np.float32)
        mean = np.zeros((groups, num_features + num_harmonics), np.float32)
        shade = np.zeros((groups, len(color_last[1])), np.float32)

        for start in range(first, last, TILE):
            size = min(TILE, last - start)
            bins = 1
            for r in range(size):
                ray = start + r
                norm[r] = np.sqrt(directions[ray, 0] ** 2 + directions[ray, 1] ** 2 + directions[ray, 2] ** 2)
                s[r, 0], s[r, 1], w[r, 0] = _ZERO, _ONE, _ONE
                pending[r] = _ZERO
                features[r, :] = _ZERO
                rgb[ray, :] = _ZERO

            if len(guides) > 0:
                bins = weights.shape[1]
                for r in range(size):
                    _guided(r, bins, start, guides, weights, s, w)
            for round_ in range(len(counts) - 1 if len(guides) == 0 else 0):
                p_table, p_resolutions, p_first, p_last = proposals[round_]
                for r in range(size):
                    _resample(r, bins, counts[round_], padding if round_ else _ZERO, t_table, s, w, s_new, t)
                    w[r, :] = _ZERO
                    alive[r], passed[r] = r, _ONE
                bins, num_alive = counts[round_], size
                for wave_first in range(0, bins, WAVE):
                    wave_last = min(wave_first + WAVE, bins)
                    n = _wave_points(
                        start, alive, num_alive, wave_first, wave_last, rays, t, norm, u, deviation, length
                    )
                    encode_proposal(u, deviation, n, p_table, p_resolutions, index, corner, p_encoded)
                    for row in range(0, n, ROWS):
                        hidden_layer(p_encoded, row, p_first, p_hidden, 0)
                        narrow_layer(p_hidden, 0, p_last, p_output, row)
                    _opacities(p_output, 0, n, length, opacity)
                    still_alive, n = 0, 0
                    for a in range(num_alive):
                        r = alive[a]
                        for i in range(wave_first, wave_last):
                            w[r, i] = passed[r] * opacity[n]
                            passed[r] -= w[r, i]
                            n += 1
                        if passed[r] > _TRANSPARENT:
                            alive[still_alive] = r
                            still_alive += 1
                    num_alive = still_alive

            if len(guides) == 0 and len(weights) > 0:
                for r in range(size):
                    for i in range(bins):
                        weights[start + r, i] = w[r, i]
            for r in range(size):
                _resample(r, bins, count, padding if len(counts) > 1 else _ZERO, t_table, s, w, s_new, t)
                w[r, :] = _ZERO
                alive[r], passed[r] = r, _ONE
            num_alive, num_groups = size, 0
            for wave_first in range(0, count, WAVE):
                wave_last = min(wave_first + WAVE, count)
                n = _wave_points(start, alive, num_alive, wave_first, wave_last, rays, t, norm, u, deviation, length)
                encode_field(u, deviation, n, table, resolutions, index, corner, encoded)
                for row in range(0, n, ROWS):
                    hidden_layer(encoded, row, field_hidden, hidden, 0)
                    wide_layer(hidden, 0, field_last, output, row)
                _opacities(output, num_features, n, length, opacity)

                still_alive = 0
                for a in range(num_alive):
                    r = alive[a]
                    for i in range(wave_first, wave_last):
                        n = a * (wave_last - wave_first) + i - wave_first
                        weight = passed[r] * opacity[n]
                        before = _ONE - passed[r]
                        passed[r] -= weight
                        if passed[r] < _TRANSPARENT:
                            weight += passed[r]
                            passed[r] = _ZERO
                        w[r, i] = weight
                        light = weight
                        if closes and i == count - 1:  # what passes all samples has the last one's colour
                            light += passed[r]
                        pending[r] += light
                        for f in range(num_features):
                            features[r, f] += light * output[n, f]
                        ended = passed[r] == _ZERO or i == count - 1
                        steps = np.floor((_ONE - passed[r]) / COLOR_STEP) > np.floor(before / COLOR_STEP)
                        if steps or ended:
                            group_ray[num_groups], group_weight[num_groups] = start + r, pending[r]
                            lit = pending[r] > np.float32(1e-8)
                            for f in range(num_features):
                                mean[num_groups, f] = features[r, f] / pending[r] if lit else output[n, f]
                                features[r, f] = _ZERO
                            for h in range(num_harmonics):
                                mean[num_groups, num_features + h] = harmonics[start + r, h]
                            pending[r] = _ZERO
                            num_groups += 1
                        if ended:
                            break
                    if passed[r] > _ZERO:
                        alive[still_alive] = r
                        still_alive += 1
                num_alive = still_alive

            for row in range(0, num_groups, ROWS):
                hidden_layer(mean, row, color_first, layer_0, 0)
                hidden_layer(layer_0, 0, color_hidden, layer_1, 0)
                narrow_layer(layer_1, 0, color_last, shade, row)
            for g in range(num_groups):
                for c in range(3):
                    value = _WIDTH / (_ONE + exponential(-shade[g, c])) - _MARGIN
                    rgb[group_ray[g], c] += group_weight[g] * value
            for r in range(size):
                ray = start + r
                accumulation[ray] = _ONE - passed[r]
                depth[ray] = _median_depth(t, w, r, count)

    return render
