"""Masks: found by name, turned as their photos are, brought to the photo's size and to the undistorted grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Camera, View
from depthrf.io import masks
from depthrf.io.photos.folder import UsablePhoto
from depthrf.io.photos.images import inspect_photo, orient
from tests.scenes.room import CAMERA, LENS, make_workspace, views


def photo(folder: Path, name: str = "a.jpg", orientation: int = 1, width: int = 80, height: int = 60) -> UsablePhoto:
    stored = orient(np.zeros((height, width, 3), np.uint8), {6: 8, 8: 6}.get(orientation, orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(folder / name, exif=exif.tobytes())
    return UsablePhoto(folder / name, inspect_photo(folder / name), name)


def save(path: Path, used: np.ndarray, mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(used.astype(np.uint8) * 255).convert(mode).save(path)
    return path


def wanted() -> np.ndarray:
    """Used everywhere but in one corner."""
    used = np.ones((60, 80), dtype=bool)
    used[:20, :40] = False
    return used


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16"])
def test_any_value_above_zero_is_used(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "m.png"
    image = Image.fromarray(wanted().astype(np.uint8) * (255 if mode in ("1", "P", "RGBA") else 3))
    (Image.fromarray(wanted().astype(np.uint16) * 3) if mode == "I;16" else image.convert(mode)).save(path)
    np.testing.assert_array_equal(masks.read_mask(path), wanted())


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_black_of_lossy_formats_is_nearly_black(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    Image.fromarray(wanted().astype(np.uint8) * 255).convert("RGB").save(path, quality=40)
    found = masks.read_mask(path)
    assert (found != wanted()).mean() < 0.005  # at most along the edge
    assert not found[2:18, 2:38].any()


@pytest.mark.parametrize("colour", ["black", "white", "many"])
def test_of_pictures_with_transparent_parts_the_opaque_ones_are_used(tmp_path: Path, colour: str) -> None:
    """Masks that are alpha alone, and cut-outs, whose dark pixels are used too."""
    rgba = np.zeros((60, 80, 4), np.uint8)
    if colour == "white":
        rgba[..., :3] = 255
    if colour == "many":
        rgba[..., :3] = np.random.default_rng(0).integers(0, 3, (60, 80, 3)) * 100
    rgba[..., 3] = wanted() * 255
    Image.fromarray(rgba).save(tmp_path / "m.png")
    np.testing.assert_array_equal(masks.read_mask(tmp_path / "m.png"), wanted())


def test_black_and_white_masks_with_a_transparent_part(tmp_path: Path) -> None:
    rgba = np.full((60, 80, 4), 255, np.uint8)
    rgba[..., :3][~wanted()] = 0
    rgba[50:, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "m.png")
    used = wanted()
    used[50:] = False
    np.testing.assert_array_equal(masks.read_mask(tmp_path / "m.png"), used)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("scale", [1, 2])
def test_masks_turn_and_grow_with_their_photo(tmp_path: Path, orientation: int, scale: int) -> None:
    stored = orient(wanted()[::scale, ::scale], {6: 8, 8: 6}.get(orientation, orientation))
    found = {tmp_path / "a.jpg": save(tmp_path / "m" / "a.png", stored)}
    left_out = masks.write_masks([photo(tmp_path, orientation=orientation)], found, tmp_path / "out")
    np.testing.assert_array_equal(masks.read_mask(tmp_path / "out" / "a.jpg.png"), wanted())
    assert left_out == pytest.approx(1 / 6)


def test_photos_without_one_are_wholly_used(tmp_path: Path) -> None:
    both = [photo(tmp_path, "a.jpg"), photo(tmp_path, "b.jpg")]
    masks.write_masks(both, {tmp_path / "a.jpg": save(tmp_path / "a.png", wanted())}, tmp_path / "out")
    assert masks.read_mask(tmp_path / "out" / "b.jpg.png").all()


def test_wrong_files_are_told(tmp_path: Path) -> None:
    wrong = save(tmp_path / "a.png", np.ones((50, 50)))
    with pytest.raises(DepthrfError, match=r"is 50×50 but a.jpg is 80×60"):
        masks.write_masks([photo(tmp_path)], {tmp_path / "a.jpg": wrong}, tmp_path / "out")
    wrong.write_bytes(b"no picture")
    with pytest.raises(DepthrfError, match="no readable picture"):
        masks.read_mask(wrong)


def test_undistorted_masks_follow_the_lens(tmp_path: Path) -> None:
    """A ring at a fixed angle off the axis: the lens draws it at one radius, the undistorted camera at another."""
    workspace = make_workspace(tmp_path / "w")
    focal, cx, cy, k = LENS.params
    y, x = np.mgrid[: LENS.height, : LENS.width] + 0.5
    edge = 0.4  # tangent of the angle
    taken = np.hypot(x - cx, y - cy) > focal * edge * (1 + k * edge**2)
    stranger = View("test view.png", CAMERA, np.eye(4))
    for view in [*views(), stranger]:
        save(masks.mask_path(tmp_path / "m", view.name), taken)
    shown = [*views(), stranger]
    masks.undistort_masks(tmp_path / "m", workspace.sfm_model, shown, tmp_path / "out")
    radius = np.hypot(*np.moveaxis(CAMERA.pixel_centres() - [CAMERA.cx, CAMERA.cy], -1, 0)) / CAMERA.fx
    sure = np.abs(radius - edge) > 1.0 / CAMERA.fx
    for view in shown:
        used = masks.read_used(tmp_path / "out", view.name, CAMERA)
        np.testing.assert_array_equal(used[sure], (radius > edge)[sure])


def test_a_smaller_pixel_is_used_where_all_it_averages_is(tmp_path: Path) -> None:
    used = np.ones((8, 8), dtype=bool)
    used[3, 3] = False
    save(masks.mask_path(tmp_path, "a.jpg"), used)
    small = masks.read_used(tmp_path, "a.jpg", Camera(4, 4, 4.0, 4.0, 2.0, 2.0))
    assert not small[1, 1]
    assert small.sum() == 15
    assert masks.read_used(tmp_path, "without.jpg", Camera(4, 4, 4.0, 4.0, 2.0, 2.0)).all()
