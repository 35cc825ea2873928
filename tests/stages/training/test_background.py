"""What counts as an object before a plain background, and what does not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.io.photos.images import read_rgb
from depthrf.stages.training.background import plain_background
from tests.scenes import corner

Image = NDArray[np.uint8]
WHITE, GREY = (255, 255, 255), (190, 200, 210)


def object_photos(colour: tuple[int, int, int], count: int = 6, noise: float = 0.0) -> list[Image]:
    """A textured disc that moves from photo to photo."""
    random = np.random.default_rng(0)
    photos = []
    for i in range(count):
        photo = np.full((90, 120, 3), colour, dtype=np.float64)
        disc = cv2.circle(np.zeros((90, 120), np.uint8), (40 + 6 * i, 45), 25, 1, -1) > 0
        photo[disc] = random.uniform(0, 255, (int(disc.sum()), 3))
        photos.append((photo + noise * random.standard_normal(photo.shape)).round().clip(0, 255).astype(np.uint8))
    return photos


@pytest.mark.parametrize(
    ("colour", "name"), [(WHITE, "white"), ((0, 0, 0), "black"), (GREY, "#bec8d2"), ((254, 255, 254), "white")]
)
def test_objects_before_one_colour(colour: tuple[int, int, int], name: str) -> None:
    assert plain_background(object_photos(colour)) == name


def test_noise_and_compression_do_not_hide_it() -> None:
    photos = [cv2.imdecode(cv2.imencode(".jpg", p)[1], cv2.IMREAD_COLOR) for p in object_photos(WHITE, noise=1.5)]
    assert plain_background([np.asarray(photo, dtype=np.uint8) for photo in photos]) == "white"


def test_a_part_of_the_object_in_the_backgrounds_colour_does_not_matter() -> None:
    photos = object_photos(WHITE)
    for photo in photos:
        photo[40:50, 60:70] = 255
    assert plain_background(photos) == "white"


def test_one_photo_of_ten_may_differ_and_two_may_not() -> None:
    photos = object_photos(WHITE, count=10)
    room = cv2.resize(corner.render(corner.views(1)[0], corner.textures())[0], (120, 90))
    assert plain_background([*photos[:9], np.asarray(room, np.uint8)]) == "white"
    assert plain_background([*photos[:8], *[np.asarray(room, np.uint8)] * 2]) is None


def test_rooms_are_none() -> None:
    assert plain_background([corner.render(view, corner.textures())[0] for view in corner.views(4)]) is None


def test_walls_that_shade_are_none() -> None:
    photos = object_photos(WHITE)
    ramp = np.linspace(200, 255, 120)[None, :, None]
    assert plain_background([np.where(p == 255, ramp, p).astype(np.uint8) for p in photos]) is None


def test_exposure_that_changes_the_border_is_none() -> None:
    gains = np.linspace(0.6, 1.0, 6)
    photos = [(p * gain).astype(np.uint8) for p, gain in zip(object_photos(GREY), gains, strict=True)]
    assert plain_background(photos) is None


def test_a_fixed_frame_is_none() -> None:
    """Black bars on all sides, or a lens that leaves a black surround: the same in every photo."""
    framed = []
    for view in corner.views(4):
        photo, _ = corner.render(view, corner.textures())
        photo[:20] = photo[-20:] = 0
        photo[:, :20] = photo[:, -20:] = 0
        framed.append(photo)
    assert plain_background(framed) is None


@pytest.mark.parametrize("colour", [WHITE, (0, 0, 0)])
def test_empty_pictures_are_none(colour: tuple[int, int, int]) -> None:
    assert plain_background([np.full((60, 80, 3), colour, dtype=np.uint8)] * 4) is None
    assert plain_background([]) is None


def test_real_rooms_are_none_and_lego_is_white(evaluation_data: Path) -> None:
    for scene in ("fox", "kitchen"):
        photos = [read_rgb(path) for path in sorted((evaluation_data / scene / "images").iterdir())]
        reduced = [np.asarray(cv2.resize(p, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)) for p in photos]
        assert plain_background(reduced) is None, scene
    lego = [read_rgb(path) for path in sorted((evaluation_data / "lego" / "train").iterdir())[:12]]
    assert plain_background(lego) == "white"
