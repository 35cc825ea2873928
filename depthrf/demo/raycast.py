"""Ray casting of boxes, spheres, upright cylinders and the room around them.

Every surface is a chart, a rectangle (u, v) in [0, 1]^2 with v upwards: a box has six (-x, +x, -y, +y, -z, +z), a
sphere one, a cylinder three (side, bottom, top). A chart has an albedo texture and a coarse map of the light that
arrives there (``shading``).

Kernels pass 3-vectors as tuples (no allocation), and use plain loops since numba's ``@`` needs scipy.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

BOX, SPHERE, CYLINDER, ROOM = 0, 1, 2, 3


class Solids(NamedTuple):
    """P primitives and C charts as flat arrays, the form the kernels take. Primitive 0 is the room.

    kind: (P,). rotation: (P, 3, 3) local from world. centre, half: (P, 3) metres; a sphere's radius is half[0], a
    cylinder's half[0], its half height half[2]. emission: (P,), 0 for what does not shine. first_chart: (P,).
    albedo: (T, 3) uint8 sRGB texels of all charts, row by row from the top; albedo_at: (C, 3) offset, width, height.
    mean_albedo: (C, 3) linear. light: (L, 3) and light_at: (C, 3) likewise.

    The primitives other than the room lie in a tree of bounding boxes, stored in depth-first order. box: (N, 2, 3) low
    and high corners. skip: (N,) the next node after this subtree; the next node inside it is the following one.
    leaf: (N,) a leaf's primitive, else -1.
    """

    kind: NDArray[np.int64]
    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]
    half: NDArray[np.float64]
    emission: NDArray[np.float64]
    first_chart: NDArray[np.int64]
    albedo: NDArray[np.uint8]
    albedo_at: NDArray[np.int64]
    mean_albedo: NDArray[np.float64]
    light: NDArray[np.float32]
    light_at: NDArray[np.int64]
    box: NDArray[np.float64]
    skip: NDArray[np.int64]
    leaf: NDArray[np.int64]


def build_tree(
    rotation: NDArray[np.float64], centre: NDArray[np.float64], half: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """The median-split tree over primitives 1 to P - 1, as the fields of ``Solids``."""
    reach = np.einsum("pij,pi->pj", np.abs(rotation), half)
    low, high = centre - reach, centre + reach
    box: list[NDArray[np.float64]] = []
    skip: list[int] = []
    leaf: list[int] = []

    def split(members: NDArray[np.int64]) -> None:
        node = len(box)
        box.append(np.stack([low[members].min(0), high[members].max(0)]))
        leaf.append(int(members[0]) if len(members) == 1 else -1)
        skip.append(0)
        if len(members) > 1:
            axis = int(np.argmax(np.ptp(centre[members], axis=0)))
            ordered = members[np.argsort(centre[members, axis], kind="stable")]
            split(ordered[: len(ordered) // 2])
            split(ordered[len(ordered) // 2 :])
        skip[node] = len(box)

    split(np.arange(1, len(centre)))
    return {"box": np.stack(box), "skip": np.array(skip), "leaf": np.array(leaf)}


@numba.njit(error_model="numpy")
def dot(a, b):  # type: ignore[no-untyped-def]
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@numba.njit(error_model="numpy")
def turn(m, v):  # type: ignore[no-untyped-def]
    """m v."""
    return dot(m[0], v), dot(m[1], v), dot(m[2], v)


@numba.njit(error_model="numpy")
def _inverse(x):  # type: ignore[no-untyped-def]
    return 1.0 / (x if abs(x) > 1e-12 else 1e-12)


@numba.njit(error_model="numpy")
def _slabs(o, d, half, inside):  # type: ignore[no-untyped-def]
    """Distance and face where a ray enters a box about the origin (or leaves it, when ``inside``); -1 is a miss."""
    near, far, near_face, far_face = -np.inf, np.inf, 0, 0
    for k in range(3):
        scale = _inverse(d[k])
        a, b = (-half[k] - o[k]) * scale, (half[k] - o[k]) * scale
        face_a, face_b = 2 * k, 2 * k + 1
        if a > b:
            a, b, face_a, face_b = b, a, face_b, face_a
        if a > near:
            near, near_face = a, face_a
        if b < far:
            far, far_face = b, face_b
    if inside:
        return far, far_face
    if near > far or near <= 0.0:
        return -1.0, 0
    return near, near_face


@numba.njit(error_model="numpy")
def _round(o, d, radius, dims):  # type: ignore[no-untyped-def]
    """Distance where a ray enters a sphere (dims 3) or an endless cylinder about z (dims 2); -1 is a miss."""
    a, b, c = 0.0, 0.0, -radius * radius
    for k in range(dims):
        a += d[k] * d[k]
        b += o[k] * d[k]
        c += o[k] * o[k]
    root = b * b - a * c
    if root < 0.0 or a < 1e-14:
        return -1.0
    return (-b - math.sqrt(root)) / a


@numba.njit(error_model="numpy")
def _hit_local(kind, o, d, half):  # type: ignore[no-untyped-def]
    """Distance and face of the first hit in a primitive's own axes; -1 is a miss."""
    if kind == SPHERE:
        return _round(o, d, half[0], 3), 0
    if kind == CYLINDER:
        t = _round(o, d, half[0], 2)
        if t > 0.0 and abs(o[2] + t * d[2]) <= half[2]:
            return t, 0
        if abs(d[2]) > 1e-12:
            up = d[2] < 0.0
            t = ((half[2] if up else -half[2]) - o[2]) / d[2]
            if t > 0.0 and (o[0] + t * d[0]) ** 2 + (o[1] + t * d[1]) ** 2 <= half[0] ** 2:
                return t, 2 if up else 1
        return -1.0, 0
    return _slabs(o, d, half, kind == ROOM)


@numba.njit(error_model="numpy")
def _chart_uv(kind, face, p, half):  # type: ignore[no-untyped-def]
    if kind == SPHERE:
        z = min(1.0, max(-1.0, p[2] / half[0]))
        return 0.5 + math.atan2(p[1], p[0]) / (2.0 * math.pi), 0.5 + math.asin(z) / math.pi
    if kind == CYLINDER:
        if face == 0:
            return 0.5 + math.atan2(p[1], p[0]) / (2.0 * math.pi), 0.5 + 0.5 * p[2] / half[2]
        return 0.5 + 0.5 * p[0] / half[0], 0.5 + 0.5 * p[1] / half[0]
    first, second = (1 if face < 2 else 0), (1 if face > 3 else 2)
    return 0.5 + 0.5 * p[first] / half[first], 0.5 + 0.5 * p[second] / half[second]


@numba.njit(error_model="numpy")
def _local(solids, p, o, d):  # type: ignore[no-untyped-def]
    """A world ray in primitive ``p``'s own axes."""
    c, m = solids.centre[p], solids.rotation[p]
    return turn(m, (o[0] - c[0], o[1] - c[1], o[2] - c[2])), turn(m, d)


@numba.njit(error_model="numpy")
def cast(solids, o, d):  # type: ignore[no-untyped-def]
    """First hit of a ray that starts inside the room: (t, primitive, chart, u, v)."""
    hit, node = 0, 0
    lo, ld = _local(solids, 0, o, d)
    best, face = _hit_local(solids.kind[0], lo, ld, solids.half[0])
    ix, iy, iz = _inverse(d[0]), _inverse(d[1]), _inverse(d[2])
    while node < solids.skip.size:
        x0, x1 = (solids.box[node, 0, 0] - o[0]) * ix, (solids.box[node, 1, 0] - o[0]) * ix
        y0, y1 = (solids.box[node, 0, 1] - o[1]) * iy, (solids.box[node, 1, 1] - o[1]) * iy
        z0, z1 = (solids.box[node, 0, 2] - o[2]) * iz, (solids.box[node, 1, 2] - o[2]) * iz
        near = max(min(x0, x1), min(y0, y1), min(z0, z1))
        far = min(max(x0, x1), max(y0, y1), max(z0, z1))
        if near > far or far < 0.0 or near > best:
            node = solids.skip[node]
            continue
        p = solids.leaf[node]
        if p >= 0:
            lo, ld = _local(solids, p, o, d)
            t, f = _hit_local(solids.kind[p], lo, ld, solids.half[p])
            if 0.0 < t < best:
                best, hit, face = t, p, f
        node += 1
    lo, ld = _local(solids, hit, o, d)
    local = (lo[0] + best * ld[0], lo[1] + best * ld[1], lo[2] + best * ld[2])
    u, v = _chart_uv(solids.kind[hit], face, local, solids.half[hit])
    return best, hit, solids.first_chart[hit] + face, u, v
