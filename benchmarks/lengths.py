"""How far measured lengths are off, and whether their printed deviations say so.

    python -m benchmarks.lengths WORKSPACE --depth DIR [--focal PX] [--offset M] [--pairs 40]

Lengths between random pairs of pixels of every photo, as ``depthrf measure`` finds them, against true depth: 16-bit
millimetres, ``<photo>.png``. One known length of 0.4 to 1.5 m, drawn at random, gives the scale of all others. A depth
camera beside the photos' camera is told by its focal length and by how far right of it it sits.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import UsageError
from depthrf.geometry.camera import Array, View
from depthrf.geometry.distortion import directions_through
from depthrf.geometry.lengths import Length
from depthrf.io.photos.images import read_png_uint16
from depthrf.stages.measuring.photos import Photos, open_photos
from depthrf.workspace import open_workspace

_EDGE = 0.03  # relative change of true depth within 3 x 3 pixels above which a pixel has no true depth
_LEAST, _KNOWN = 0.2, (0.4, 1.5)  # metres
_POINTING = 0.002  # relative deviation of the known length
_DRAWS, _TRIES = 200, 2000


@dataclass(frozen=True)
class Pair:
    """True metres, and what was measured in scene units."""

    true: float
    found: Length


@dataclass(frozen=True)
class DepthCamera:
    """focal: pixels. offset: metres to the right of the photos' camera; both look the same way."""

    focal: float
    offset: float

    def depth(self, ray: Array, maps: NDArray[np.float64], start: float) -> float | None:
        """True z-depth along a ray (3,) of the photo; None where it is not known for sure."""
        height, width = maps.shape
        z = start
        for _ in range(4):
            column = int(self.focal * (ray[0] + self.offset / z) + width / 2)
            row = int(self.focal * ray[1] + height / 2)
            if not (1 <= row < height - 1 and 1 <= column < width - 1):
                return None
            around = maps[row - 1 : row + 2, column - 1 : column + 2]
            if (around <= 0).any() or np.ptp(around) > _EDGE * around.mean():
                return None
            z = float(maps[row, column])
        return z


def pairs_of(photos: Photos, view: View, maps: NDArray[np.float64], camera: DepthCamera, count: int) -> list[Pair]:
    """Pairs of random pixels of one photo whose length is known and can be measured."""
    rng = np.random.default_rng(0)
    entry, _ = photos.find(view.name)
    found: list[Pair] = []
    for _ in range(_TRIES):
        if len(found) == count:
            break
        points = rng.uniform((2, 2), (entry.width - 2, entry.height - 2), (2, 2))
        rays = directions_through(photos.model.lens_of(view), points / photos.lens_scale(entry, view))
        depth = [camera.depth(ray, maps, float(np.median(maps[maps > 0]))) for ray in rays]
        if None in depth:
            continue
        true = float(np.linalg.norm(rays[1] * depth[1] - rays[0] * depth[0]))
        if true < _LEAST:
            continue
        try:
            length = photos.length(view.name, [(float(x), float(y)) for x, y in points])
        except UsageError:  # no depth there
            continue
        found.append(Pair(true, length))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--depth", type=Path, required=True)
    parser.add_argument("--focal", type=float, help="of the depth camera; default: the photos'")
    parser.add_argument("--offset", type=float, default=0.0, help="of the depth camera, metres to the right")
    parser.add_argument("--pairs", type=int, default=40, help="of each photo")
    arguments = parser.parse_args()
    photos = open_photos(open_workspace(arguments.workspace))
    pairs: list[Pair] = []
    for view in photos.views.values():
        maps = read_png_uint16(arguments.depth / f"{view.stem}.png").astype(np.float64) / 1000.0
        camera = DepthCamera(arguments.focal or view.camera.fx, arguments.offset)
        pairs += pairs_of(photos, view, maps, camera, arguments.pairs)
    report(pairs)


def report(pairs: list[Pair]) -> None:
    rng = np.random.default_rng(0)
    true, value = np.array([p.true for p in pairs]), np.array([p.found.value for p in pairs])
    relative = np.array([p.found.deviation / p.found.value for p in pairs])
    known = np.flatnonzero((true > _KNOWN[0]) & (true < _KNOWN[1]))
    errors, ratios, claimed = [], [], []
    for _ in range(_DRAWS):
        chosen = int(rng.choice(known))
        others = np.arange(len(pairs)) != chosen
        error = np.abs(value[others] / true[others] * true[chosen] / value[chosen] - 1.0)
        scale = math.hypot(relative[chosen], _POINTING)
        deviation = np.hypot(relative[others], scale)
        errors.append(error)
        claimed.append(deviation)
        ratios.append(error / deviation)
    every = np.concatenate(ratios)
    print(f"{len(pairs)} lengths; median error {np.median(np.concatenate(errors)):.2%} by one known length")
    print(
        f"deviations: {np.median(np.concatenate(claimed)):.2%} in the median; "
        + ", ".join(f"{(every < k).mean():.1%} within {k}" for k in (1, 2, 3))
    )


if __name__ == "__main__":
    main()
