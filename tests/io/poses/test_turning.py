"""Poses of photos as they are stored turn with their photos, whatever the lens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthrf.errors import UsageError
from depthrf.geometry.distortion import project_through
from depthrf.geometry.lens import LENS_MODELS, Lens
from depthrf.geometry.transforms import look_at
from depthrf.io.captures.poses import join_poses
from depthrf.io.poses.given_poses import GivenPoses, PosedPhoto
from depthrf.io.poses.turning import upright

POSE = look_at(np.array([0.3, 0.2, -3.0]), np.zeros(3), np.array([0.1, -1.0, 0.0]))
POINTS = np.random.default_rng(1).uniform([-0.5, -0.4, -0.4], [0.5, 0.4, 0.4], (40, 3))

# Of each number of parameters, small ones that no two of are equal.
_SMALL = (0.03, -0.02, 0.004, -0.006, 0.01, -0.008, 0.005, 0.007, -0.003, 0.002, 0.006, -0.004)


def lens_of(model: str, count: int) -> Lens:
    one = Lens(model, 96, 72, (81.0,) * count).num_focals == 1
    head = (81.0, 50.0, 33.0) if one else (81.0, 79.0, 50.0, 33.0)
    return Lens(model, 96, 72, (*head, *_SMALL[: count - len(head)]))


def seen(lens: Lens, pose: np.ndarray) -> np.ndarray:
    in_cam = POINTS @ pose[:3, :3].T + pose[:3, 3]
    return project_through(lens, in_cam / in_cam[:, 2:])


def turned_pixels(xy: np.ndarray, orientation: int) -> np.ndarray:
    """Where a pixel of the stored picture (96 x 72) lies after it was turned upright."""
    x, y = xy.T
    return {
        1: xy,
        3: np.stack([96 - x, 72 - y], 1),
        6: np.stack([72 - y, x], 1),
        8: np.stack([y, 96 - x], 1),
    }[orientation]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(("model", "count"), LENS_MODELS.values(), ids=lambda value: str(value))
def test_points_are_seen_where_the_turned_picture_shows_them(model: str, count: int, orientation: int) -> None:
    lens = lens_of(model, count)
    width, height = (72, 96) if orientation >= 5 else (96, 72)
    found = upright(PosedPhoto("a", lens, POSE), orientation, width, height)
    assert (found.camera.width, found.camera.height) == (width, height)
    assert found.camera.model == model
    np.testing.assert_allclose(
        seen(found.camera, found.cam_from_world), turned_pixels(seen(lens, POSE), orientation), atol=1e-9
    )
    assert np.linalg.det(found.cam_from_world[:3, :3]) == pytest.approx(1.0)


def test_a_pose_of_the_upright_photo_is_left() -> None:
    photo = PosedPhoto("a", Lens("PINHOLE", 72, 96, (81.0, 79.0, 33.0, 50.0)), POSE)
    assert upright(photo, 6, 72, 96) is photo


def test_mirrored_photos_are_told() -> None:
    with pytest.raises(UsageError, match=r"stored mirrored \(EXIF orientation 2\)"):
        upright(PosedPhoto("a", lens_of("PINHOLE", 4), POSE), 2, 96, 72)


@pytest.mark.parametrize("orientation", [3, 6])
def test_given_poses_are_of_the_stored_pixels_unless_an_upright_picture_lies_beside_them(
    orientation: int, tmp_path: Path
) -> None:
    lens = lens_of("SIMPLE_RADIAL", 4)
    size = (72, 96) if orientation >= 5 else (96, 72)
    given = GivenPoses([PosedPhoto("a.jpg", lens, POSE)], None, frozenset())
    model = tmp_path / "sparse" / "0"
    model.mkdir(parents=True)
    joined = join_poses(given, {"a.jpg": size}, {}, model, {"a.jpg": orientation}).poses["a.jpg"]
    np.testing.assert_allclose(
        seen(joined.camera, joined.cam_from_world), turned_pixels(seen(lens, POSE), orientation), atol=1e-9
    )
    if orientation == 3:
        (tmp_path / "images").mkdir()
        Image.new("RGB", (96, 72)).save(tmp_path / "images" / "a.jpg")
        joined = join_poses(given, {"a.jpg": size}, {}, model, {"a.jpg": orientation}).poses["a.jpg"]
        np.testing.assert_array_equal(joined.cam_from_world, POSE)
