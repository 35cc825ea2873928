"""``depthrf measure``: a length between two points of a photo, in metres where the scene's scale is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from depthrf.errors import UsageError
from depthrf.io.depth.scale import read_scale
from depthrf.stages.measuring.given import METRES, Point
from depthrf.stages.measuring.photos import open_photos
from depthrf.workspace import Workspace


@dataclass(frozen=True)
class Measurement:
    """A measured length.

    Attributes:
        photo: As the user named it.
        points: (x, y) in pixels of the upright photo.
        length, deviation: In ``unit``, with one standard deviation; that of the scene's scale is part of it.
        unit: One of :data:`depthrf.stages.measuring.given.METRES`, or ``scene units``.
        length_units, deviation_units: In scene units.
    """

    photo: str
    points: tuple[Point, ...]
    length: float
    deviation: float
    unit: str
    length_units: float
    deviation_units: float

    def __str__(self) -> str:
        """As 1.204 ± 0.012 m, with two digits of the deviation."""
        if not 0.0 < self.deviation < math.inf:
            return f"{self.length:.4g} {self.unit}"
        digits = max(0, 1 - math.floor(math.log10(self.deviation)))
        return f"{self.length:.{digits}f} ± {self.deviation:.{digits}f} {self.unit}"


def measure(workspace: Workspace, photo: str, points: Sequence[Point], unit: str | None = None) -> Measurement:
    """The length between two points of a photo.

    Args:
        workspace: In which ``merge`` has run.
        photo: Its name, as in the photo folder, with or without its ending.
        points: Two (x, y), pixels of the upright photo with the origin at its corner.
        unit: Of the result; None: metres where the scale is known, else scene units.

    Raises:
        UsageError: An unknown photo or unit, a point outside the photo or without depth, or a unit is asked for and the
            scale is not known.
    """
    if unit is not None and unit not in METRES:
        raise UsageError(f"--unit should be one of {', '.join(METRES)}; found {unit!r}")
    scale = read_scale(workspace)
    if unit is not None and scale.metres_per_unit is None:
        raise UsageError(
            "The scale of the scene is not known. Tell a length: "
            f"depthrf merge {workspace.root} --known-length PHOTO:x1,y1:x2,y2=1.20m"
        )
    found = open_photos(workspace).length(photo, points)
    if scale.metres_per_unit is None:
        length, deviation, name = found.value, found.deviation, "scene units"
    else:
        name = unit or "m"
        factor = scale.metres_per_unit / METRES[name]
        relative = math.hypot(found.deviation / found.value, (scale.deviation or 0.0) / scale.metres_per_unit)
        length, deviation = found.value * factor, found.value * factor * relative
    return Measurement(photo, tuple(points), length, deviation, name, found.value, found.deviation)
