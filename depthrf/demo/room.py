"""An analytic living room: painted surfaces, baked light, and pictures of it with exact depth.

World axes: metres, z up, origin in the middle of the floor; photos look towards +y. One seed decides everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.demo import shading
from depthrf.demo.furniture import Piece, living_room, surface_sizes
from depthrf.demo.raycast import Solids, build_tree
from depthrf.demo.shading import Lamps
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import invert_rigid, look_at

FOCAL_35MM = 28  # whole millimetres, as EXIF stores it
DIAGONAL_35MM = 43.2666
_LIGHT_TEXEL = 0.06  # metres
_SUN, _LAMP = (6.6, 5.9, 4.7), (1.1, 0.98, 0.82)
_EXPOSURE = 1.75


@dataclass(frozen=True)
class RoomScene:
    """The room, ready to be photographed: solids with their textures and the light that falls on them."""

    solids: Solids


@cache
def _linear() -> NDArray[np.float64]:
    """Linear value of each 8-bit sRGB code, (256,)."""
    code = np.arange(256) / 255.0
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def room_scene(seed: int = 0) -> RoomScene:
    """Builds the room, paints every surface and bakes its light (a few seconds)."""
    rng = np.random.default_rng(seed)
    pieces = living_room(rng)
    charts = [(piece, face, size) for piece in pieces for face, size in enumerate(surface_sizes(piece))]
    textures = [_paint(piece, face, size, rng) for piece, face, size in charts]
    counts = [len(surface_sizes(piece)) for piece in pieces]
    light_sizes = [[int(np.clip(np.ceil(s / _LIGHT_TEXEL), 3, 120)) for s in size] for _, _, size in charts]
    light_at = _layout(light_sizes)
    rotation = np.stack([p.local_from_world for p in pieces])
    centre, half = np.array([p.centre for p in pieces]), np.array([p.half for p in pieces])
    solids = Solids(
        kind=np.array([p.kind for p in pieces]),
        rotation=rotation,
        centre=centre,
        half=half,
        emission=np.array([p.emission for p in pieces]),
        first_chart=np.cumsum([0, *counts[:-1]]),
        albedo=np.concatenate([t.reshape(-1, 3) for t in textures]),
        albedo_at=_layout([[t.shape[1], t.shape[0]] for t in textures]),
        mean_albedo=np.array([_linear()[t[::8, ::8]].reshape(-1, 3).mean(0) for t in textures]),
        light=np.zeros((light_at[-1, 0] + light_at[-1, 1] * light_at[-1, 2], 3), np.float32),
        light_at=light_at,
        **build_tree(rotation, centre, half),
    )
    return RoomScene(_bake(solids, [p.name for p in pieces], rng))


def _paint(piece: Piece, face: int, size: tuple[float, float], rng: np.random.Generator) -> NDArray[np.uint8]:
    picture = piece.faces.get(face, piece.surface)(*size, rng)
    return (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _layout(sizes: list[list[int]]) -> NDArray[np.int64]:
    """(C, 3) offset, width, height of charts stored one after the other."""
    areas = [w * h for w, h in sizes]
    return np.column_stack([np.cumsum([0, *areas[:-1]]), np.array(sizes)])


def _bake(solids: Solids, names: list[str], rng: np.random.Generator) -> Solids:
    """Direct light, then what surfaces send each other; further bounces are taken as a share of the first."""
    to_sun = np.array([0.78, 0.36, 0.52])
    lamps = Lamps(
        names.index("window"), to_sun / np.linalg.norm(to_sun), np.array(_SUN), names.index("bulb"), np.array(_LAMP)
    )
    texels = np.empty((len(solids.light), 4), np.int64)
    ends = np.append(solids.first_chart[1:], len(solids.light_at))
    for prim, (first, end) in enumerate(zip(solids.first_chart, ends, strict=True)):
        for chart in range(first, end):
            at, w, h = solids.light_at[chart].tolist()
            rows, columns = np.divmod(np.arange(w * h), w)
            texels[at : at + w * h] = np.column_stack(
                [np.full_like(rows, prim), np.full_like(rows, chart - first), columns, rows]
            )
    direct, bounced = np.zeros((len(texels), 3)), np.zeros((len(texels), 3))
    for source in (shading.SUN, shading.BULB):
        shading.bake(solids, lamps, source, texels, _spread(20, rng), direct)
    lit = solids._replace(light=direct.astype(np.float32))
    shading.bake(lit, lamps, shading.SURFACES, texels, _spread(56, rng), bounced)
    light = (direct + 1.6 * bounced).astype(np.float32)
    for at, w, h in solids.light_at:
        smooth = cv2.GaussianBlur(light[at : at + w * h].reshape(h, w, 3), (3, 3), 0.6)
        light[at : at + w * h] = smooth.reshape(-1, 3)
    return solids._replace(light=light)


def _spread(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(count, 4) numbers in [0, 1), each column evenly spread."""
    strata = np.stack([rng.permutation(count) for _ in range(4)], axis=1)
    return np.asarray((strata + rng.random((count, 4))) / count)


def render(scene: RoomScene, view: View) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A photo, (H, W, 3) sRGB, and the z-depth of its pixel centres in metres, (H, W)."""
    camera = view.camera
    linear = np.zeros((camera.height, camera.width, 3), np.float32)
    depth = np.zeros((camera.height, camera.width), np.float32)
    k_inv = np.array([1.0 / camera.fx, 1.0 / camera.fy, camera.cx, camera.cy])
    world_from_cam = np.ascontiguousarray(invert_rigid(view.cam_from_world))
    shading.render_kernel(scene.solids, _linear(), world_from_cam, k_inv, linear, depth)
    exposed = 1.0 - np.exp(-_EXPOSURE * linear)  # rolls highlights off as film does
    srgb = np.where(exposed <= 0.0031308, 12.92 * exposed, 1.055 * np.maximum(exposed, 1e-6) ** (1 / 2.4) - 0.055)
    return (np.clip(srgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8), depth


def demo_views(
    num_train: int = 20, num_test: int = 4, width: int = 640, height: int = 480
) -> tuple[list[View], list[View]]:
    """Training and held-out views of someone who walks an arc around the furniture.

    Held-out views lie between training views, a little off the walked line.
    """
    focal = FOCAL_35MM / DIAGONAL_35MM * float(np.hypot(width, height))
    camera = Camera(width, height, focal, focal, width / 2, height / 2)
    train = [_walk(f"room_{i + 1:02d}.jpg", i / max(1, num_train - 1), 0.0, camera) for i in range(num_train)]
    between = np.floor((np.arange(num_test) + 0.5) / max(1, num_test) * (num_train - 1)) + 0.5
    tests = [
        _walk(f"held_out_{i + 1:02d}.jpg", at / max(1, num_train - 1), 0.04 * (-1) ** i, camera)
        for i, at in enumerate(between)
    ]
    return train, tests


def _walk(name: str, along: float, aside: float, camera: Camera) -> View:
    """The view at ``along`` in [0, 1] of the walk, ``aside`` metres off it."""
    angle = np.deg2rad(-46.0 + 92.0 * along)
    radius = 2.25 + 0.12 * np.sin(9.0 * along) + aside
    centre = np.array(
        [radius * np.sin(angle), 0.72 - radius * np.cos(angle), 1.38 + 0.22 * np.sin(14.0 * along) + aside]
    )
    target = np.array([0.35 * np.sin(7.0 * along + 1.0) - 0.1, 0.95, 0.82 + 0.10 * np.sin(11.0 * along)])
    return View(name, camera, look_at(centre, target, np.array([0.0, 0.0, 1.0])))
