"""An analytic scene for depth tests: a slanted floor and a box, posed cameras, and a COLMAP text model of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import look_at
from depthrf.io.photos.images import write_png
from depthrf.workspace import Workspace, create_workspace

CAMERA = Camera(96, 72, 80.0, 80.0, 48.0, 36.0)
LENS = Lens("SIMPLE_RADIAL", 100, 76, (80.0, 50.0, 38.0, -0.1))


def views(number: int = 4) -> list[View]:
    """Cameras on an arc above the floor, looking at the origin; +z is up."""
    result = []
    for i in range(number):
        angle = 0.25 * (i - (number - 1) / 2)
        centre = np.array([2.0 * np.sin(angle), -2.0 * np.cos(angle), 1.5])
        pose = look_at(centre, np.zeros(3), np.array([0.0, 0.0, 1.0]))
        result.append(View(f"photo {i}.png", CAMERA, pose))
    return result


def depth_along(view: View, directions: np.ndarray) -> np.ndarray:
    """z-depth of the floor z = 0.1 x and the wall y = 1.5, whichever is nearer, for rays with camera-z = 1."""
    rotation, centre = view.cam_from_world[:3, :3].T, view.centre
    rays = directions @ rotation.T
    depths = []
    for normal, offset in ((np.array([-0.1, 0.0, 1.0]), 0.0), (np.array([0.0, 1.0, 0.0]), 1.5)):
        t = (offset - centre @ normal) / (rays @ normal)
        depths.append(np.where(t > 0, t, np.inf))
    return np.minimum(*depths)


def depth_map(view: View) -> np.ndarray:
    return depth_along(view, view.camera.directions(view.camera.pixel_centres())).astype(np.float32)


def lens_directions(lens: Lens) -> np.ndarray:
    """Rays of the distorted photo's pixel centres, by fixed-point iteration; (h, w, 3)."""
    f, cx, cy, k = lens.params
    x, y = np.meshgrid(np.arange(lens.width) + 0.5, np.arange(lens.height) + 0.5)
    x, y = (x - cx) / f, (y - cy) / f
    ux, uy = x.copy(), y.copy()
    for _ in range(50):
        factor = 1 + k * (ux**2 + uy**2)
        ux, uy = x / factor, y / factor
    return np.stack([ux, uy, np.ones_like(ux)], axis=-1)


def make_workspace(root: Path, *, unit: float = 1.0, num_points: int = 150, noise_px: float = 0.3) -> Workspace:
    """A workspace after SfM: undistorted photos, ``undistorted/sparse`` and ``sfm/sparse/0`` of points on the surfaces.

    Args:
        root: A new folder.
        unit: Scene units per metre: the model is written ``unit`` times larger than the scene above.
        num_points: 3D points, seen by all cameras they project into.
        noise_px: Standard deviation of keypoints.
    """
    rng = np.random.default_rng(0)
    workspace = create_workspace(root, root.parent)
    scene = views()
    xy = rng.uniform((3, 3), (CAMERA.width - 3, CAMERA.height - 3), (num_points, 2))
    directions = CAMERA.directions(xy)
    in_cam = directions * depth_along(scene[1], directions)[:, None]
    world = (in_cam - scene[1].cam_from_world[:3, 3]) @ scene[1].cam_from_world[:3, :3]
    observed = []
    for view in scene:
        points = world @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        observed.append(CAMERA.project(points) + rng.normal(0, noise_px, (num_points, 2)))
    pinhole = f"PINHOLE {CAMERA.width} {CAMERA.height} {CAMERA.fx} {CAMERA.fy} {CAMERA.cx} {CAMERA.cy}"
    radial = f"SIMPLE_RADIAL {LENS.width} {LENS.height} " + " ".join(map(str, LENS.params))
    for folder, camera in ((workspace.undistorted_sparse, pinhole), (workspace.sfm_model, radial)):
        folder.mkdir(parents=True)
        (folder / "cameras.txt").write_text(f"1 {camera}\n")
        (folder / "images.txt").write_text(_images(scene, observed, unit))
        (folder / "points3D.txt").write_text(_points(world, observed, unit))
    for view in scene:
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        write_png(workspace.undistorted_images / view.name, np.kron(coarse, np.ones((12, 12, 1), np.uint8)))
    return workspace


def _inside(xy: np.ndarray) -> np.ndarray:
    return np.asarray((xy > 0).all(-1) & (xy < (CAMERA.width, CAMERA.height)).all(-1))


def _images(scene: list[View], observed: list[np.ndarray], unit: float) -> str:
    lines = []
    for i, (view, xy) in enumerate(zip(scene, observed, strict=True)):
        quaternion = Rotation.from_matrix(view.cam_from_world[:3, :3]).as_quat(scalar_first=True)
        translation = view.cam_from_world[:3, 3] * unit
        pose = " ".join(repr(float(v)) for v in (*quaternion, *translation))
        lines.append(f"{i + 1} {pose} 1 {view.name}")
        point_ids = np.where(_inside(xy), np.arange(1, len(xy) + 1), -1)
        lines.append(" ".join(f"{x} {y} {p}" for (x, y), p in zip(xy, point_ids, strict=True)))
    return "\n".join(lines) + "\n"


def _points(world: np.ndarray, observed: list[np.ndarray], unit: float) -> str:
    lines = []
    for p, point in enumerate(world * unit):
        track = " ".join(f"{i + 1} {p}" for i, xy in enumerate(observed) if _inside(xy)[p])
        lines.append(f"{p + 1} {point[0]} {point[1]} {point[2]} 9 9 9 0.5 {track}")
    return "\n".join(lines) + "\n"
