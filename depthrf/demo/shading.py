"""The demo room's light, baked once, and pictures of it.

All surfaces are matte: they look the same from every side, so a picture is albedo times light. ``raycast`` explains the
charts that hold both.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from depthrf.demo.raycast import CYLINDER, ROOM, SPHERE, cast, dot, turn

SUN, BULB, SURFACES = 0, 1, 2


class Lamps(NamedTuple):
    """What shines: sunlight through the primitive ``window``, and a spherical lamp, the primitive ``bulb``."""

    window: int
    to_sun: NDArray[np.float64]  # (3,) unit
    sun: NDArray[np.float64]  # (3,) irradiance
    bulb: int
    bulb_power: NDArray[np.float64]  # (3,) irradiance at one metre


@numba.njit(error_model="numpy")
def _turn_back(m, v):  # type: ignore[no-untyped-def]
    """m^T v."""
    return (
        m[0, 0] * v[0] + m[1, 0] * v[1] + m[2, 0] * v[2],
        m[0, 1] * v[0] + m[1, 1] * v[1] + m[2, 1] * v[2],
        m[0, 2] * v[0] + m[1, 2] * v[1] + m[2, 2] * v[2],
    )


@numba.njit(error_model="numpy")
def _chart_point(kind, face, u, v, half):  # type: ignore[no-untyped-def]
    """Point and outward normal of chart coordinates in the primitive's own axes: the inverse of ``cast``'s (u, v)."""
    x, y = 2.0 * u - 1.0, 2.0 * v - 1.0
    if kind == SPHERE:
        ring = math.cos(0.5 * math.pi * y)
        n = (ring * math.cos(math.pi * x), ring * math.sin(math.pi * x), math.sin(0.5 * math.pi * y))
        return (n[0] * half[0], n[1] * half[0], n[2] * half[0]), n
    if kind == CYLINDER:
        if face == 0:
            n = (math.cos(math.pi * x), math.sin(math.pi * x), 0.0)
            return (n[0] * half[0], n[1] * half[0], y * half[2]), n
        sign = 1.0 if face == 2 else -1.0
        return (x * half[0], y * half[0], sign * half[2]), (0.0, 0.0, sign)
    sign = 1.0 if face % 2 else -1.0
    out = -sign if kind == ROOM else sign
    if face // 2 == 0:
        return (sign * half[0], x * half[1], y * half[2]), (out, 0.0, 0.0)
    if face // 2 == 1:
        return (x * half[0], sign * half[1], y * half[2]), (0.0, out, 0.0)
    return (x * half[0], y * half[1], sign * half[2]), (0.0, 0.0, out)


@numba.njit(error_model="numpy")
def _corners(at, u, v):  # type: ignore[no-untyped-def]
    """Indices of the four texels around (u, v) and the two weights."""
    x = min(max(u * at[1] - 0.5, 0.0), at[1] - 1.0)
    y = min(max((1.0 - v) * at[2] - 0.5, 0.0), at[2] - 1.0)
    x0, y0 = int(x), int(y)
    step = 1 if x0 + 1 < at[1] else 0
    row0 = at[0] + y0 * at[1] + x0
    row1 = row0 + (at[1] if y0 + 1 < at[2] else 0)
    return row0, row0 + step, row1, row1 + step, x - x0, y - y0


@numba.njit(error_model="numpy")
def _mix(a, b, c, e, fx, fy):  # type: ignore[no-untyped-def]
    return (a * (1.0 - fx) + b * fx) * (1.0 - fy) + (c * (1.0 - fx) + e * fx) * fy


@numba.njit(error_model="numpy")
def _light(solids, hit, chart, u, v):  # type: ignore[no-untyped-def]
    """What leaves a surface, before its albedo."""
    if solids.emission[hit] > 0.0:
        return solids.emission[hit], solids.emission[hit], solids.emission[hit]
    a, b, c, e, fx, fy = _corners(solids.light_at[chart], u, v)
    t = solids.light
    return (
        _mix(t[a, 0], t[b, 0], t[c, 0], t[e, 0], fx, fy),
        _mix(t[a, 1], t[b, 1], t[c, 1], t[e, 1], fx, fy),
        _mix(t[a, 2], t[b, 2], t[c, 2], t[e, 2], fx, fy),
    )


@numba.njit(error_model="numpy")
def _arriving(solids, lamps, source, o, n, ball, out):  # type: ignore[no-untyped-def]
    """Adds one ray's share of the light at point ``o`` with normal ``n``; ``ball`` is a random unit vector.

    One ``cast`` for all sources: it is long, and is compiled into every place that calls it.
    """
    s, c, blur = lamps.to_sun, solids.centre[lamps.bulb], 0.02
    if source == SURFACES:  # the unit ball about the normal's tip gives cosine-weighted directions
        d, blur = (n[0] * 1.0001, n[1] * 1.0001, n[2] * 1.0001), 1.0
    elif source == SUN:
        d = (s[0], s[1], s[2])
    else:
        d, blur = (c[0] - o[0], c[1] - o[1], c[2] - o[2]), 0.9 * solids.half[lamps.bulb, 0]
    slope = dot(n, d)
    if slope <= 0.0:
        return
    towards = (d[0] + blur * ball[0], d[1] + blur * ball[1], d[2] + blur * ball[2])
    _, hit, chart, u, v = cast(solids, o, towards)
    if source == SURFACES:
        sent = _light(solids, hit, chart, u, v)
        for k in range(3):
            out[k] += sent[k] * solids.mean_albedo[chart, k]
    elif source == SUN and hit == lamps.window:
        for k in range(3):
            out[k] += slope * lamps.sun[k]
    elif source == BULB and hit == lamps.bulb:
        for k in range(3):
            out[k] += slope / dot(d, d) ** 1.5 * lamps.bulb_power[k]


@numba.njit(parallel=True, error_model="numpy")
def bake(solids, lamps, source, charts, rays, out):  # type: ignore[no-untyped-def]
    """Adds the light that arrives at every light texel from ``source`` to ``out`` (L, 3).

    charts: (L, 4) primitive, face, column, row of each texel. rays: (R, 4) uniform numbers that spread directions and,
    within the texel, origins.
    """
    for i in numba.prange(charts.shape[0]):
        prim, face = charts[i, 0], charts[i, 1]
        at = solids.light_at[solids.first_chart[prim] + face]
        share = np.zeros(3)
        for r in range(rays.shape[0]):
            u, v = (charts[i, 2] + rays[r, 2]) / at[1], 1.0 - (charts[i, 3] + rays[r, 3]) / at[2]
            local, normal = _chart_point(solids.kind[prim], face, u, v, solids.half[prim])
            n, p = _turn_back(solids.rotation[prim], normal), _turn_back(solids.rotation[prim], local)
            c = solids.centre[prim]
            o = (p[0] + c[0] + 1e-4 * n[0], p[1] + c[1] + 1e-4 * n[1], p[2] + c[2] + 1e-4 * n[2])
            # A golden-ratio turn a texel, so that neighbours do not share their error.
            z, angle = 2.0 * rays[r, 0] - 1.0, 2.0 * math.pi * (rays[r, 1] + i * 0.618034)
            ring = math.sqrt(max(0.0, 1.0 - z * z))
            ball = (ring * math.cos(angle), ring * math.sin(angle), z)
            _arriving(solids, lamps, source, o, n, ball, share)
        for k in range(3):
            out[i, k] += share[k] / rays.shape[0]


@numba.njit(parallel=True, error_model="numpy")
def render_kernel(solids, table, world_from_cam, k_inv, rgb, depth):  # type: ignore[no-untyped-def]
    """Linear colours (mean of 2 x 2 rays a pixel) and z-depth (of the pixel's centre) of one photo, in place.

    table: (256,) linear value of sRGB codes. k_inv: 1/fx, 1/fy, cx, cy.
    """
    height, width = depth.shape
    for y in numba.prange(height):
        o = (world_from_cam[0, 3], world_from_cam[1, 3], world_from_cam[2, 3])
        for x in range(width):
            for s in range(5):
                dx, dy = (0.5, 0.5) if s == 4 else (0.25 + 0.5 * (s % 2), 0.25 + 0.5 * (s // 2))
                ray = ((x + dx - k_inv[2]) * k_inv[0], (y + dy - k_inv[3]) * k_inv[1], 1.0)
                t, hit, chart, u, v = cast(solids, o, turn(world_from_cam, ray))
                if s == 4:
                    depth[y, x] = t
                    continue
                light = _light(solids, hit, chart, u, v)
                a, b, c, e, fx, fy = _corners(solids.albedo_at[chart], u, v)
                q = solids.albedo
                for k in range(3):
                    albedo = _mix(table[q[a, k]], table[q[b, k]], table[q[c, k]], table[q[e, k]], fx, fy)
                    rgb[y, x, k] += 0.25 * albedo * light[k]
