from __future__ import annotations

import numpy as np
import pytest

from depthrf.depth.merging import Source
from depthrf.geometry.camera import DepthPrior
from depthrf.io.depth_pictures import draw_prediction, draw_prior
from depthrf.io.images import write_png


def flat(height: int, width: int, value: float) -> np.ndarray:
    return np.full((height, width), value, dtype=np.float32)


@pytest.mark.parametrize(("height", "width"), [(60, 80), (80, 60), (1500, 2000)])
def test_pictures_have_one_size_whatever_the_photos(tmp_path, height, width):
    write_png(tmp_path / "photo.png", np.full((height, width, 3), 120, np.uint8))
    depth = flat(height, width, 2.0)
    source = np.full((height, width), Source.MONO, np.uint8)
    for picture in (
        draw_prediction(tmp_path / "photo.png", depth, "inverse_depth"),
        draw_prior(tmp_path / "photo.png", DepthPrior(depth, 0.1 * depth), source),
    ):
        assert 800 < picture.shape[1] < 840
        assert picture.shape[0] < 1300


def test_each_source_has_its_own_colour(tmp_path):
    write_png(tmp_path / "photo.png", np.full((60, 80, 3), 120, np.uint8))
    depth = flat(60, 80, 2.0)
    shown = set()
    for source in Source:
        labels = np.full(depth.shape, source, np.uint8)
        picture = draw_prior(tmp_path / "photo.png", DepthPrior(depth, 0.1 * depth), labels)
        shown.add(tuple(picture[-200, -200]))  # inside the last panel
    assert len(shown) == len(Source)


def test_nothing_known_is_drawn_too(tmp_path):
    write_png(tmp_path / "photo.png", np.full((60, 80, 3), 120, np.uint8))
    nothing = flat(60, 80, 0.0)
    draw_prediction(tmp_path / "photo.png", nothing * np.nan, "depth")
    draw_prior(tmp_path / "photo.png", DepthPrior(nothing, nothing), np.zeros((60, 80), np.uint8))
