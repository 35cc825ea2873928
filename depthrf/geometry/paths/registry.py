"""The kinds of camera paths, by name.

Routes do not depend on the order of the views nor on the scene's frame and scale: lengths are measured in the
cameras' own spread or in the distance of what they look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from depthrf.geometry.camera import View
from depthrf.geometry.paths.focus import Subject
from depthrf.geometry.paths.orbit import orbit, sphere
from depthrf.geometry.paths.route import Route
from depthrf.geometry.paths.single import dolly, spiral
from depthrf.geometry.paths.still import still
from depthrf.geometry.paths.tour import tour


class Kind(Protocol):
    """A kind of path."""

    def __call__(self, views: Sequence[View], subject: Subject, reach: float = 1.0, *, loop: bool = False) -> Route:
        """The route past ``views``. ``reach``: how far it goes from what the photos saw; 1 is usual."""


KINDS: dict[str, Kind] = {
    "tour": tour,
    "orbit": orbit,
    "spiral": spiral,
    "sphere": sphere,
    "dolly": dolly,
    "still": still,
}
"""By the name that ``--path`` takes."""
