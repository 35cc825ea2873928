from __future__ import annotations

import numpy as np
import pytest
import torch

from depthrf.geometry.camera import Camera, View
from depthrf.nerf.rays.pixel_layout import PixelLayout

SIZES = [(4, 3), (2, 5), (3, 1)]  # width, height


@pytest.fixture
def layout() -> PixelLayout:
    views = [View(f"{w}.png", Camera(w, h, 1.0, 1.0, w / 2, h / 2), np.eye(4)) for w, h in SIZES]
    return PixelLayout.of(views, torch.device("cpu"))


def test_every_pixel_has_its_place_and_every_place_its_pixel(layout: PixelLayout) -> None:
    places = [(p, x + 0.5, y + 0.5) for p, (w, h) in enumerate(SIZES) for y in range(h) for x in range(w)]
    pixel = torch.arange(len(places))
    photo, x, y = layout.centres(pixel)
    assert list(zip(photo.tolist(), x.tolist(), y.tolist(), strict=True)) == places
    for shift in (-0.5, 0.0, 0.49):
        found, inside = layout.containing(photo, x + shift, y + shift)
        assert torch.equal(found, pixel)
        assert inside.all()


def test_places_beside_a_photo_have_no_pixel(layout: PixelLayout) -> None:
    x, y = torch.tensor([-0.1, 2.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, -0.1, 5.0])
    found, inside = layout.containing(torch.tensor(1), x, y)
    assert not inside.any()
    assert found.tolist() == [12] * 4


def test_pictures_of_one_and_of_several_channels(layout: PixelLayout) -> None:
    values = torch.arange(25)
    pictures = layout.pictures(values)
    assert [p.shape for p in pictures] == [(h, w) for w, h in SIZES]
    assert torch.equal(torch.cat([p.flatten() for p in pictures]), values)
    assert [p.shape for p in layout.pictures(values[:, None].expand(-1, 2))] == [(h, w, 2) for w, h in SIZES]
