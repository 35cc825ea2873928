"""Panoramas are told from photos, and their views show what the panorama does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from depthrf.io.photos.images import inspect_photo
from depthrf.io.photos.panorama import NUM_VIEWS, cut, focal_px


def panorama(width: int = 1024) -> np.ndarray:
    """What a smooth pattern on the sphere looks like all around; its colour is a function of the direction."""
    height = width // 2
    longitude = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    latitude = ((np.arange(height) + 0.5) / height - 0.5) * np.pi
    longitude, latitude = np.meshgrid(longitude, latitude)
    directions = np.stack(
        [np.sin(longitude) * np.cos(latitude), np.sin(latitude), np.cos(longitude) * np.cos(latitude)], -1
    )
    return colour_of(directions)


def colour_of(directions: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(directions, -1, 0)
    waves = np.stack([np.sin(9 * x + 4 * y), np.sin(11 * z - 3 * x), np.cos(8 * y + 5 * z)], -1)
    return np.rint(127.5 + 120 * waves).astype(np.uint8)


def test_views_show_the_sphere_through_a_pinhole() -> None:
    views = cut(panorama())
    assert len(views) == NUM_VIEWS
    side = views[0].shape[0]
    assert views[0].shape == (side, side, 3)
    offset = (np.arange(side) + 0.5 - side / 2) / focal_px(side)
    right, down = np.meshgrid(offset, offset)
    rays = np.stack([right, down, np.ones_like(right)], -1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    for index, view in enumerate(views):
        yaw = 2 * np.pi * index / NUM_VIEWS
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        assert np.abs(view.astype(int) - colour_of(rays @ turn.T)).max() <= 4, index


GPANO = (
    b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
    b'GPano:ProjectionType="equirectangular"/></x:xmpmeta>'
)


def save_with_xmp(path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(path, quality=95)
    data = path.read_bytes()
    segment = b"\xff\xe1" + (len(GPANO) + 2).to_bytes(2, "big") + GPANO
    path.write_bytes(data[:2] + segment + data[2:])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_panoramas_are_told_with_and_without_their_tag(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(panorama()).save(tmp_path / f"all{suffix}")
    assert inspect_photo(tmp_path / f"all{suffix}").is_panorama
    noise = np.random.default_rng(0).integers(0, 255, (16, 32, 3)).astype(np.uint8)
    photo = cv2.resize(noise, (1024, 512), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(photo).save(tmp_path / f"wide{suffix}")
    assert not inspect_photo(tmp_path / f"wide{suffix}").is_panorama
    save_with_xmp(tmp_path / "tagged.jpg", photo)
    assert inspect_photo(tmp_path / "tagged.jpg").is_panorama
    save_with_xmp(tmp_path / "part.jpg", photo[:300])  # a phone's panorama of a part of the horizon
    assert not inspect_photo(tmp_path / "part.jpg").is_panorama
    Image.fromarray(np.full((512, 1024, 3), 200, np.uint8)).save(tmp_path / f"blank{suffix}")
    assert not inspect_photo(tmp_path / f"blank{suffix}").is_panorama
