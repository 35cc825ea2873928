"""Photos of every lens model end as photos of a pinhole camera that show what it would see."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.distortion import project_through
from depthrf.geometry.lens import LENS_MODELS, Lens
from depthrf.io.poses.transforms_json import load_views
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.further.placement import _undistort
from depthrf.sfm.child.models import camera_of
from depthrf.sfm.child.results import finish
from depthrf.sfm.jobs import Folders
from depthrf.stages import sfm
from tests.scenes import corner
from tests.sfm.child.test_mapping import Quiet

MODELS = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": (-0.1,),
    "RADIAL": (-0.1, 0.02),
    "OPENCV": (-0.1, 0.02, 0.003, -0.002),
    "FULL_OPENCV": (-0.1, 0.02, 0.003, -0.002, 0.01, 0.02, 0.01, 0.0),
    "OPENCV_FISHEYE": (0.03, -0.01, 0.0, 0.0),
    "FOV": (0.7,),
    "SIMPLE_RADIAL_FISHEYE": (0.05,),
    "RADIAL_FISHEYE": (0.05, -0.01),
    "THIN_PRISM_FISHEYE": (0.03, -0.01, 0.002, 0.001, 0.0, 0.0, 0.002, 0.003),
    "RAD_TAN_THIN_PRISM_FISHEYE": (0.03, -0.01, 0.0, 0.0, 0.0, 0.0, 0.002, 0.001, 0.002, 0.0, 0.003, 0.0),
    "SIMPLE_DIVISION": (-0.1,),
    "DIVISION": (-0.1,),
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
    "EUCM": (0.5, 1.1),
}
WITHOUT_DISTORTION = {
    "SIMPLE_RADIAL": (0.0,),
    "OPENCV": (0.0, 0.0, 0.0, 0.0),
    "FOV": (1e-9,),
    "OPENCV_FISHEYE": (0.0, 0.0, 0.0, 0.0),
    "THIN_PRISM_FISHEYE": (0.0,) * 8,
    "EUCM": (0.0, 1.1),
}
CASES = [pytest.param(m, d, id=m) for m, d in MODELS.items()]
CASES += [pytest.param(m, d, id=f"{m} without distortion") for m, d in WITHOUT_DISTORTION.items()]


def lens(model: str, distortion: tuple[float, ...]) -> Lens:
    """A lens for photos of the corner; its photos are a little wider than the corner's own."""
    camera = corner.CAMERA
    one_focal = dict(LENS_MODELS.values())[model] == 3 + len(distortion)
    focals = (200.0,) if one_focal else (200.0, 204.0)
    return Lens(model, camera.width, camera.height, (*focals, camera.cx + 2, camera.cy - 3, *distortion))


def photo_through(view: View, used: Lens) -> NDArray[np.uint8]:
    """What a camera with this lens sees from the view's pose, BGR.

    Renders a large pinhole photo first and looks up where each pixel of the lens comes from, by Newton's method.
    """
    wide = Camera(720, 540, 300.0, 300.0, 360.0, 270.0)
    picture, _ = corner.render(view.with_camera(wide), corner.textures())
    wanted = used.pinhole.pixel_centres()
    xy = used.pinhole.directions(wanted)[..., :2]
    for _ in range(30):
        rays = np.concatenate([xy, np.ones((*xy.shape[:2], 1))], axis=-1)
        off = (wanted - project_through(used, rays)) / [used.fx, used.fy]
        xy = xy + off
    assert np.abs(off).max() < 1e-9
    at = wide.project(np.concatenate([xy, np.ones((*xy.shape[:2], 1))], axis=-1)).astype(np.float32) - 0.5
    return np.asarray(cv2.remap(picture, at[..., 0], at[..., 1], cv2.INTER_CUBIC), dtype=np.uint8)


def difference(photo: Path, view: View) -> float:
    """Mean absolute difference between a photo and a rendering of its view, grey levels, away from the edges."""
    shown = cv2.imread(str(photo))
    assert shown is not None
    expected, _ = corner.render(view, corner.textures())
    return float(np.abs(shown.astype(np.float64) - expected)[4:-4, 4:-4].mean())


@pytest.mark.parametrize(("model", "distortion"), CASES)
def test_undistorted_photos_are_those_of_their_pinhole_camera(
    model: str, distortion: tuple[float, ...], tmp_path: Path
) -> None:
    used = lens(model, distortion)
    view = corner.views(3)[1]
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), photo_through(view, used))
    undistorted = tmp_path / "undistorted"
    folders = Folders(
        tmp_path / "photos", tmp_path / "sfm", undistorted / "images", undistorted / "sparse", tmp_path / "p.ply"
    )
    reconstruction = pycolmap.Reconstruction()
    camera = camera_of(used)
    camera.camera_id = 1
    reconstruction.add_camera_with_trivial_rig(camera)
    image = pycolmap.Image(name="a.png", keypoints=np.zeros((0, 2)), camera_id=1, image_id=1)
    reconstruction.add_image_with_trivial_frame(image, pycolmap.Rigid3d(view.cam_from_world[:3]))
    (found,) = finish(reconstruction, reconstruction, folders, frozenset(), Quiet()).views
    assert difference(undistorted / "images" / "a.png", found) < 2.5
    assert found.camera.fx == pytest.approx(used.fx, rel=0.35)
    # A photo that is registered later goes the same way.
    again = _undistort(tmp_path / "photos" / "a.png", tmp_path / "later.png", reconstruction.cameras[1])
    assert again == found.camera
    assert difference(tmp_path / "later.png", view.with_camera(again)) < 2.5


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("SIMPLE_PINHOLE", ()),
        ("OPENCV", (0.0, 0.0, 0.0, 0.0)),
        ("OPENCV_FISHEYE", (0.0, 0.0, 0.0, 0.0)),
        ("FULL_OPENCV", MODELS["FULL_OPENCV"]),
    ],
)
def test_the_stage_takes_poses_with_any_lens(model: str, distortion: tuple[float, ...], tmp_path: Path) -> None:
    used = lens(model, distortion)
    shot = corner.views(4)
    workspace = corner.make_workspace(tmp_path / "workspace", shot)
    for view in shot:
        cv2.imwrite(str(workspace.images / view.name), photo_through(view, used))
    given = tmp_path / "model"
    corner.write_colmap_model(given, shot, used)
    summary = sfm.run(workspace, sfm.Options(poses=given))
    assert summary.consistency > 0.9
    assert summary.num_points > 100
    views, _ = load_views(workspace.transforms)
    for view, true in zip(views, shot, strict=True):
        np.testing.assert_allclose(view.cam_from_world, true.cam_from_world, atol=1e-6)
        assert difference(workspace.undistorted_images / view.name, view) < 2.5
