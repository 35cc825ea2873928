"""Masks and depth maps are found by their names, in folders of their own and among the photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthrf.errors import UsageError
from depthrf.io.companions import find_masks, sort_out


def mask(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    used = np.full((40, 60), 255, np.uint8)
    used[:10] = 0
    Image.fromarray(used).save(path)
    return path


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize("folder", ["photos/masks", "masks", "photos/mask", "mask"])
@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "a.jpg.png",
        "A.JPG.PNG",
        "a.jpg",
        "a.jpeg",
        "mask_a.png",
        "a_mask.png",
        "a-mask.jpg",
        "a.mask.png",
        "dynamic_mask_a.png",
        "a.jpg.mask.png",
    ],
)
def test_the_common_spellings(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / "photos").mkdir()
    path = mask(tmp_path / folder / name)
    stranger = mask(tmp_path / folder / "stranger.png")
    photos = [tmp_path / "photos" / "a.jpg", tmp_path / "photos" / "b.jpg"]
    found = find_masks(tmp_path / "photos", photos, None)
    assert found.by_photo == {photos[0]: path}
    assert found.spare == (stranger,)


def test_the_more_exact_spelling_wins(tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png", "a.jpg.png", "a.jpeg"):
        mask(tmp_path / "masks" / name)
    a = tmp_path / "a.jpg"
    assert find_masks(tmp_path, [a], None).by_photo == {a: tmp_path / "masks" / "a.jpg.png"}


def test_sub_folders_of_photos_are_found_again_below_the_masks(tmp_path: Path) -> None:
    photos = [tmp_path / "images" / side / "000000.jpg" for side in ("front", "back")]
    masks = [mask(tmp_path / "masks" / side / "000000.png") for side in ("front", "back")]
    assert find_masks(tmp_path, photos, None).by_photo == dict(zip(photos, masks, strict=True))


def test_one_flat_mask_is_not_that_of_two_photos(tmp_path: Path) -> None:
    photos = [tmp_path / "images" / side / "000000.jpg" for side in ("front", "back")]
    flat = mask(tmp_path / "masks" / "000000.png")
    found = find_masks(tmp_path, photos, None)
    assert found.by_photo == {}
    assert found.spare == (flat,)


def test_a_given_folder_must_hold_some(tmp_path: Path) -> None:
    mask(tmp_path / "mine" / "other.png")
    photos = [tmp_path / "a.jpg"]
    with pytest.raises(UsageError, match=r"expected names such as a.png, a.jpg.png or a_mask.png"):
        find_masks(tmp_path, photos, tmp_path / "mine")
    with pytest.raises(UsageError, match="No such folder of masks"):
        find_masks(tmp_path, photos, tmp_path / "nowhere")
    assert find_masks(tmp_path, photos, None).by_photo == {}


@pytest.mark.parametrize("name", ["a_mask.png", "mask_a.png", "a.jpg.png", "a.mask.jpg", "a.png"])
def test_masks_among_the_photos_are_no_photos(tmp_path: Path, name: str) -> None:
    a, b = photo(tmp_path / "a.jpg"), photo(tmp_path / "b.jpg")
    own = mask(tmp_path / name)
    found = sort_out([a, own, b])
    assert found.photos == [a, b]
    assert found.masks == {a: own}


def test_what_only_looks_like_a_mask_stays_a_photo(tmp_path: Path) -> None:
    """A second photo of the same stem, and a photo of a mask that belongs to no other photo."""
    a, same_stem = photo(tmp_path / "a.jpg"), photo(tmp_path / "a.png")
    carnival = photo(tmp_path / "venice_mask.jpg")
    assert sort_out([a, same_stem, carnival]).photos == [a, same_stem, carnival]


@pytest.mark.parametrize(
    ("color", "depth"),
    [
        ("frame-000000.color.png", "frame-000000.depth.png"),
        ("a.jpg", "a_depth.png"),
        ("rgb_1.png", "depth_1.png"),
        ("a.jpg", "a-depth.exr"),
        ("img_7.jpg", "7_depthmap.npy"),
    ],
)
def test_depth_maps_among_the_photos(tmp_path: Path, color: str, depth: str) -> None:
    found = sort_out([tmp_path / color, tmp_path / depth])
    assert found.photos == [tmp_path / color]
    assert found.depths == {tmp_path / color: tmp_path / depth}
