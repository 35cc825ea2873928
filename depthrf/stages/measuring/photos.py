"""From a photo and a pixel, as the user names them, to the undistorted photo's ray and prior depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import Array, View, containing_pixels
from depthrf.geometry.distortion import directions_through
from depthrf.geometry.lengths import Length, length_between
from depthrf.io.depth.depth_maps import read_prior
from depthrf.io.photos.table import PhotoEntry, read_photos
from depthrf.io.poses.colmap import ColmapModel, load_scene, read_model
from depthrf.stages.measuring.doubt import deviation_at
from depthrf.stages.measuring.given import Point
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.geometry.camera import DepthPrior

# How well one points at a thing in a photo, pixels: standard deviation along each axis.
_POINTING_PX = 1.0


@dataclass(frozen=True)
class Photos:
    """The photos of a workspace that has a model.

    Attributes:
        entries: All files of the photo folder.
        views: By name, the undistorted photos that train.
        model: Their lenses.
    """

    workspace: Workspace
    entries: tuple[PhotoEntry, ...]
    views: dict[str, View]
    model: ColmapModel

    def find(self, name: str) -> tuple[PhotoEntry, View]:
        """A photo by its name in the photo folder or in ``images/``, with or without its ending.

        Raises:
            UsageError: There is no such photo, several fit, or it has no pose.
        """
        found = self._named(name)
        if found is None:
            raise UsageError(f"No photo is called {name!r}. {self._some()}")
        if found.name not in self.views:
            why = "is held out" if found.status == "held_out" else found.reason or "could not be placed in the scene"
            raise UsageError(f"Nothing can be measured in {found.source}: it {_as_predicate(why)}. {self._some()}")
        return found, self.views[found.name]

    def pair(self, names: str) -> tuple[View, View]:
        """Two photos whose names are written with a space between; names may have spaces too.

        Raises:
            UsageError: As :meth:`find`.
        """
        words = names.split(" ")
        splits = [(" ".join(words[:i]).strip(), " ".join(words[i:]).strip()) for i in range(1, len(words))]
        known = [split for split in splits if all(self._named(name) is not None for name in split)]
        first, second = known[0] if known else splits[0]
        return self.find(first)[1], self.find(second)[1]

    def length(self, name: str, points: Sequence[Point]) -> Length:
        """The length between two points (x, y) of a photo, in pixels of the upright photo, in scene units.

        Raises:
            UsageError: There is no such photo, or a point lies outside of it or has no depth.
        """
        entry, view = self.find(name)
        prior, _ = read_prior(self.workspace.prior_depth / f"{view.stem}.npz")
        rays = np.stack([self._ray(entry, view, point) for point in points])
        positions = view.camera.project(rays)
        pixels = containing_pixels(positions)
        for row, column, point in zip(*pixels, points, strict=True):
            if not (0 <= row < view.camera.height and 0 <= column < view.camera.width):
                raise UsageError(
                    f"The point {_text(point)} of {entry.source} lies at the border that was cut off when the photo "
                    "was undistorted. Choose one farther inside."
                )
            if not prior.depth[row, column] > 0:
                raise UsageError(_without_depth(self, entry, view, prior, (row, column), point))
        pixel = view.camera.width / entry.width
        angle = _POINTING_PX * pixel / view.camera.fx
        depth = prior.depth[pixels].astype(np.float64)
        sigma = [deviation_at(self.workspace, self.views, view, prior, xy, pixel=pixel) for xy in positions]
        try:
            return length_between(rays, depth, np.array(sigma), angle=angle)
        except ValueError:
            raise UsageError("The two points should differ.") from None

    def lens_scale(self, entry: PhotoEntry, view: View) -> Array:
        """Pixels of the photo for each pixel of its lens, (2,): a model may be of photos of another size."""
        lens = self.model.lens_of(view)
        return np.array([entry.width / lens.width, entry.height / lens.height])

    def _ray(self, entry: PhotoEntry, view: View, point: Point) -> Array:
        """The ray (3,), with z = 1, of a position in the upright photo."""
        x, y = point
        if not (0 <= x <= entry.width and 0 <= y <= entry.height):
            raise UsageError(
                f"The point {_text(point)} lies outside {entry.source}, which is {entry.width} x {entry.height} pixels."
            )
        ray: Array = directions_through(self.model.lens_of(view), np.array(point) / self.lens_scale(entry, view))
        if not np.isfinite(ray).all():
            raise UsageError(f"The lens that was found for {entry.source} has no ray at {_text(point)}.")
        return ray

    def _named(self, name: str) -> PhotoEntry | None:
        """The photo called so; what is called exactly so comes before what has the name's stem.

        Raises:
            UsageError: Several fit.
        """
        photos = [entry for entry in self.entries if entry.status not in ("mask", "depth")]
        for fits in (
            [entry for entry in photos if entry.source == name],
            [entry for entry in photos if entry.name == name],
            [entry for entry in photos if PurePosixPath(entry.source).name == name],
            [entry for entry in photos if name in (_stem(entry.source), _stem(entry.name or ""))],
        ):
            if len(fits) > 1:
                names = ", ".join(sorted(entry.source for entry in fits))
                raise UsageError(f"{name!r} names several photos: {names}. Give the whole name.")
            if fits:
                return fits[0]
        return None

    def _some(self) -> str:
        names = sorted(entry.source for entry in self.entries if entry.name in self.views)
        return f"Photos that can be measured in: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"


def open_photos(workspace: Workspace) -> Photos:
    """The photos of a workspace in which ``merge`` has run.

    Raises:
        DepthrfError: A file is damaged or missing.
    """
    if not workspace.photos.is_file():
        raise DepthrfError(f"{workspace.photos} is missing. Run: depthrf ingest PHOTOS -o {workspace.root}")
    scene = load_scene(workspace.undistorted_sparse)
    views = {view.name: view for view in scene.views}
    return Photos(workspace, read_photos(workspace.photos), views, read_model(workspace.sfm_model))


def _without_depth(
    photos: Photos, entry: PhotoEntry, view: View, prior: DepthPrior, pixel: tuple[int, int], point: Point
) -> str:
    """The message for a point without depth, with the nearest one that has some."""
    from depthrf.geometry.distortion import project_through

    rows, columns = np.nonzero(prior.depth > 0)
    text = f"The point {_text(point)} of {entry.source} has no depth."
    if not len(rows):
        return f"{text} No pixel of this photo has: choose another one."
    nearest = int(np.argmin((rows - pixel[0]) ** 2 + (columns - pixel[1]) ** 2))
    ray = view.camera.directions(np.array([columns[nearest] + 0.5, rows[nearest] + 0.5]))
    x, y = project_through(photos.model.lens_of(view), ray) * photos.lens_scale(entry, view)
    return f"{text} The nearest that has is {x:.0f},{y:.0f}; depth/prior/overlays shows where there is depth."


def _text(point: Point) -> str:
    return f"{point[0]:g},{point[1]:g}"


def _as_predicate(reason: str) -> str:
    """``is held out`` as it is; another reason as what was said of the photo."""
    return reason if reason.startswith(("is ", "could ")) else f"was not used ({reason.rstrip('.')})"


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
