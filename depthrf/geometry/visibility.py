"""What photos saw: which of them saw a point in space, and a volume of the space that they looked through.

A photo with depth ``D`` and standard deviation ``s`` at the pixel of a point at z-depth ``z`` says one of four things:
the point is on a surface (``|z - D| <= 2 s``), the photo looked through it (``z`` is smaller), it is hidden (``z`` is
larger), or the photo looked that way without a known depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from depthrf.geometry.camera import Array, Camera, DepthPrior, View, containing_pixels
from depthrf.geometry.transforms import Similarity

Index = NDArray[np.int64]

_SIGMAS = 2.0
_CHUNK = 2**18  # points at a time
_STEPS = 160  # samples a ray
_HALF_DIAGONAL = 0.87  # of a cell: no surface passes through a cell farther from its centre


@dataclass(frozen=True)
class SeenDepth:
    """A photo's view with its depth and sigma, both (H, W) of the view's camera, scene units, 0 = unknown."""

    view: View
    depth: NDArray[np.float32]
    sigma: NDArray[np.float32]

    @staticmethod
    def of(view: View, prior: DepthPrior, max_side: int) -> SeenDepth:
        """A photo's prior thinned to at most ``max_side`` pixels; every pixel keeps a depth that one of it had."""
        small = view.camera.fitted(max_side)
        rows = ((np.arange(small.height) + 0.5) * prior.depth.shape[0] / small.height).astype(np.int64)
        columns = ((np.arange(small.width) + 0.5) * prior.depth.shape[1] / small.width).astype(np.int64)
        pick = np.ix_(rows, columns)
        return SeenDepth(view.with_camera(small), prior.depth[pick], prior.sigma[pick])


@dataclass(frozen=True)
class Sightings:
    """What the photos say about N points, as counts of photos (N,). on: they are on a surface. looked: the photo looked
    that way and knows no depth there. through: it looked through them. facing: (N, 3) sum of the unit vectors from the
    point to the photos that saw it on a surface."""

    on: NDArray[np.int16]
    looked: NDArray[np.int16]
    through: NDArray[np.int16]
    facing: NDArray[np.float32]


def sightings(points: Array, photos: Sequence[SeenDepth], slack: Array | float) -> Sightings:
    """What each photo says about points.

    Args:
        points: (N, 3) world.
        photos: The photos.
        slack: (N,) or one number: how far a point may be off because of how it was made, scene units.
    """
    count = len(points)
    on, looked, through = (np.zeros(count, np.int16) for _ in range(3))
    facing = np.zeros((count, 3), np.float32)
    slack = np.broadcast_to(np.asarray(slack, dtype=np.float64), (count,))
    for first in range(0, count, _CHUNK):
        part = slice(first, first + _CHUNK)
        for photo in photos:
            _judge(points[part], photo, slack[part], on[part], looked[part], through[part], facing[part])
    return Sightings(on, looked, through, facing)


def pixels_of(points: Array, view: View) -> tuple[Index, Index, Index, Array]:
    """Which of the points (N, 3) lie before the camera and inside its picture, (M,), and their row, column, z-depth."""
    pose, camera = view.cam_from_world, view.camera
    in_camera = points @ pose[:3, :3].T + pose[:3, 3]
    ahead = np.flatnonzero(in_camera[:, 2] > 1e-9)
    row, column = containing_pixels(camera.project(in_camera[ahead]))
    inside = (row >= 0) & (row < camera.height) & (column >= 0) & (column < camera.width)
    index = ahead[inside]
    return index, row[inside], column[inside], in_camera[index, 2]


def _judge(
    points: Array,
    photo: SeenDepth,
    slack: Array,
    on: NDArray[np.int16],
    looked: NDArray[np.int16],
    through: NDArray[np.int16],
    facing: NDArray[np.float32],
) -> None:
    """Adds what one photo says."""
    index, row, column, z = pixels_of(points, photo.view)
    depth = photo.depth[row, column].astype(np.float64)
    off = z - depth
    tolerance = _SIGMAS * photo.sigma[row, column] + slack[index]
    known = depth > 0
    hit = known & (np.abs(off) <= tolerance)
    on[index] += hit
    looked[index] += ~known
    through[index] += known & (off < -tolerance)
    towards = photo.view.centre - points[index[hit]]
    facing[index[hit]] += (towards / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-12)).astype(
        np.float32
    )


@dataclass(frozen=True)
class Share:
    """Shares of a picture's pixels whose surface two photos or more saw within their sigma, one saw, none saw. A photo
    that looked that way without a known depth counts as one."""

    two: float
    one: float
    none: float


def share_of(seen: NDArray[np.int64]) -> Share:
    """Shares of levels 0 to 2 as :func:`levels` gives them."""
    return Share(*(float(np.mean(seen == level)) for level in (2, 1, 0)))


def levels(found: Sightings, towards: Array) -> NDArray[np.int64]:
    """2, 1 or 0 for every point: two photos or more saw it, one, or none, (N,).

    Args:
        found: Of the points.
        towards: (N, 3) from each point to the camera that looks at it; photos on the other side of the surface do not
            count.
    """
    length = np.linalg.norm(found.facing, axis=1) * np.linalg.norm(towards, axis=1)
    behind = (found.facing * towards).sum(1) < -0.2 * length
    on = np.where(behind, 0, found.on)
    return np.where(on >= 2, 2, np.where((on == 1) | ((found.looked > 0) & ~behind), 1, 0)).astype(np.int64)


@dataclass(frozen=True)
class Look:
    """What a camera would see. seen: 2, 1 or 0 for each pixel (H, W), as :func:`levels` says. cut: share of the pixels
    with a surface nearer than the near plane, which is not rendered."""

    seen: NDArray[np.int64]
    cut: float


@dataclass(frozen=True)
class VisibilityVolume:
    """What the photos say about all of space, in cells of contracted space (mip-NeRF 360 eq. 10): fine where the
    cameras and most of the surface are, coarse far away.

    cells: side of the cubic grid. normalised_from_scene: puts the cameras and most points into the unit ball.
    """

    cells: int
    normalised_from_scene: Similarity
    on: NDArray[np.int16]  # (cells^3,), as in Sightings
    looked: NDArray[np.int16]
    through: NDArray[np.int16]
    facing: NDArray[np.float32]
    clear: NDArray[np.float32]  # distance to the nearest surface in scene units, exact in the unit ball

    @staticmethod
    def of(photos: Sequence[SeenDepth], normalised_from_scene: Similarity, cells: int = 96) -> VisibilityVolume:
        """Asks every photo about the centre of every cell."""
        step = 4.0 / cells
        axis = -2.0 + step * (np.arange(cells) + 0.5)
        centres = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
        radius = np.minimum(np.linalg.norm(centres, axis=1), 2.0 - 0.5 * step)
        # The inverse of the contraction; cells stretch with the square of the distance.
        stretch = np.where(radius > 1.0, 1.0 / np.maximum(radius * (2.0 - radius), 1e-9), 1.0)
        size = np.where(radius > 1.0, 1.0 / (2.0 - radius) ** 2, 1.0) * step / normalised_from_scene.scale
        points = normalised_from_scene.inverse().apply(centres * stretch[:, None])
        found = sightings(points, photos, _HALF_DIAGONAL * size)
        solid = (found.on > 0) & (found.on >= found.through)
        shape = (cells, cells, cells)
        distance = np.full(shape, np.inf)
        if solid.any():
            distance = distance_transform_edt(~solid.reshape(shape))
        clear = (distance.reshape(-1) * step / normalised_from_scene.scale).astype(np.float32)
        return VisibilityVolume(
            cells, normalised_from_scene, found.on, found.looked, found.through, found.facing, clear
        )

    def cells_of(self, points: Array) -> NDArray[np.int64]:
        """Index of the cell of world points, (..., 3) -> (...,)."""
        z = self.normalised_from_scene.apply(points)
        norm = np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1.0)
        z = z * ((2.0 - 1.0 / norm) / norm)
        i, j, k = np.moveaxis(np.clip(((z + 2.0) * (self.cells / 4.0)).astype(np.int64), 0, self.cells - 1), -1, 0)
        return np.asarray((i * self.cells + j) * self.cells + k)

    def clearance(self, points: Array) -> Array:
        """Distance of world points (N, 3) to the nearest surface, (N,), scene units; about a cell's accuracy."""
        return self.clear[self.cells_of(points)].astype(np.float64)

    def look(self, view: View, near: float, far: float) -> Look:
        """What a camera would see.

        A ray ends at the first cell on a surface. Space that no photo looked through does not end it before it has been
        in seen space, as around the cameras themselves; after that it hides what lies behind, and no photo saw it.

        Args:
            view: The camera; a few thousand pixels are plenty.
            near, far: Range of z-depth that is rendered, scene units. Surfaces nearer than ``near`` are cut away.
        """
        camera: Camera = view.camera
        t = np.geomspace(0.25 * near, far, _STEPS)
        directions = camera.directions(camera.pixel_centres()).reshape(-1, 3) @ view.cam_from_world[:3, :3]
        cells = self.cells_of(view.centre + directions[:, None] * t[:, None])
        on, through = self.on[cells], self.through[cells]
        surface = (on > 0) & (on >= through)
        cut = float(np.mean(surface[:, t < near].any(1)))
        surface[:, t < near] = False
        entered = np.maximum.accumulate(through > 0, axis=1)
        unknown = entered & (on == 0) & (through == 0) & (self.looked[cells] == 0) & (t >= near)
        # One unknown cell may be a surface's own inside, seen at a slant.
        stop = surface.copy()
        stop[:, :-1] |= unknown[:, :-1] & unknown[:, 1:]
        last = np.where(stop.any(1), stop.argmax(1), _STEPS - 1)
        ray = np.arange(len(last))
        cell = cells[ray, last]
        found = Sightings(self.on[cell], self.looked[cell], self.through[cell], self.facing[cell])
        seen = np.where(stop.any(1) & ~surface[ray, last], 0, levels(found, -directions))
        return Look(seen.reshape(camera.height, camera.width), cut)
