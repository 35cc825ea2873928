"""What the viewer shows of a workspace beside the field: photos, sparse points, and points of the prior depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Array, SparseScene, View
from depthrf.geometry.paths.focus import vertical
from depthrf.geometry.paths.route import length_unit
from depthrf.geometry.visibility import SeenDepth
from depthrf.io.depth.depth_maps import read_prior
from depthrf.io.photos.images import read_rgb
from depthrf.io.poses.colmap import load_scene
from depthrf.workspace import Workspace

_THUMBNAIL = 160  # longer side of a photo on its frustum, pixels
_POINTS = 150_000  # of prior depth, all photos together


@dataclass(frozen=True)
class Cloud:
    """Points (P, 3) in scene units and their colours (P, 3)."""

    points: Array
    colors: NDArray[np.uint8]


@dataclass(frozen=True)
class Content:
    """A scene.

    Attributes:
        views: The training photos.
        up: (3,) unit vector.
        reach: A length of the size of the cameras' spread, scene units.
        sparse: Points of structure from motion.
    """

    workspace: Workspace
    views: list[View]
    up: Array
    reach: float
    sparse: Cloud

    def thumbnail(self, view: View) -> NDArray[np.uint8]:
        """The photo, small."""
        import cv2

        camera = view.camera.fitted(_THUMBNAIL)
        photo = read_rgb(self.workspace.undistorted_images / view.name)
        small = cv2.resize(photo, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.uint8)

    def seen(self) -> list[SeenDepth]:
        """What photos saw: the prior depth of some of them, small."""
        from depthrf.stages.filming.trust import load_depths

        return load_depths(self.workspace, self.views)

    def curve(self) -> tuple[Array, Array]:
        """Steps of training and the PSNR of their batches in dB; both empty where none have been measured."""
        from depthrf.plot.curves import read_metrics

        try:
            rows = read_metrics(self.workspace.metrics)
        except DepthrfError:
            return np.empty(0), np.empty(0)
        return np.array([row["step"] for row in rows]), np.array([row["psnr"] for row in rows])

    def fused(self) -> Cloud:
        """Points of all photos' prior depth that is surer than 3 % of itself."""
        each = max(1, _POINTS // max(1, len(self.views)))
        points, colors = [np.empty((0, 3))], [np.empty((0, 3), np.uint8)]
        for view in self.views:
            path = self.workspace.prior_depth / f"{view.stem}.npz"
            if not path.is_file():
                continue
            prior, _ = read_prior(path)
            rows, columns = np.nonzero((prior.depth > 0) & (prior.sigma <= 0.03 * prior.depth))
            every = max(1, len(rows) // each)
            rows, columns = rows[::every], columns[::every]
            rays = view.camera.directions(np.stack([columns + 0.5, rows + 0.5], axis=-1))
            in_camera = rays * prior.depth[rows, columns][:, None].astype(np.float64)
            pose = view.world_from_cam
            points.append(in_camera @ pose[:3, :3].T + pose[:3, 3])
            colors.append(read_rgb(self.workspace.undistorted_images / view.name)[rows, columns])
        return Cloud(np.concatenate(points), np.concatenate(colors))


def load_content(workspace: Workspace) -> Content:
    """The scene of a workspace in which ``sfm`` has run."""
    scene: SparseScene = load_scene(workspace.undistorted_sparse)
    reach = 0.6 * length_unit(scene.views)
    return Content(workspace, scene.views, vertical(scene.views), reach, Cloud(scene.points, scene.colors))
