from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.depth.merging import Source
from depthrf.geometry.camera import DepthPrior
from depthrf.io.draw.depth_pictures import draw_prediction, draw_prior
from depthrf.io.draw.overlays import UNKNOWN
from depthrf.io.photos.images import write_png


def flat(height: int, width: int, value: float) -> NDArray[np.float32]:
    return np.full((height, width), value, dtype=np.float32)


@pytest.mark.parametrize(("height", "width"), [(60, 80), (80, 60), (1500, 2000)])
def test_pictures_have_one_size_whatever_the_photos(tmp_path: Path, height: int, width: int) -> None:
    write_png(tmp_path / "photo.png", np.full((height, width, 3), 120, np.uint8))
    depth = flat(height, width, 2.0)
    source = np.full((height, width), Source.MONO, np.uint8)
    for picture in (
        draw_prediction(tmp_path / "photo.png", depth, "inverse_depth"),
        draw_prior(tmp_path / "photo.png", DepthPrior(depth, np.float32(0.1) * depth), source),
    ):
        assert 800 < picture.shape[1] < 840
        assert picture.shape[0] < 1300


def test_each_source_has_its_own_colour(tmp_path: Path) -> None:
    write_png(tmp_path / "photo.png", np.full((60, 80, 3), 120, np.uint8))
    depth = flat(60, 80, 2.0)
    shown = set()
    for source in Source:
        labels = np.full(depth.shape, source, np.uint8)
        picture = draw_prior(tmp_path / "photo.png", DepthPrior(depth, np.float32(0.1) * depth), labels)
        shown.add(tuple(picture[-200, -200]))  # inside the last panel
    assert len(shown) == len(Source)


def share_of(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((picture == np.array(colour)).all(-1).mean())


def test_where_nothing_is_known_panels_are_grey(tmp_path: Path) -> None:
    write_png(tmp_path / "photo.png", np.full((60, 80, 3), 120, np.uint8))
    nothing, known = flat(60, 80, 0.0), flat(60, 80, 2.0)
    sources = np.zeros((60, 80), np.uint8)
    # A panel is 400 x 300 pixels; everything but the photo is grey.
    empty = draw_prediction(tmp_path / "photo.png", nothing * np.float32(np.nan), "depth")
    assert share_of(empty, UNKNOWN) == pytest.approx(400 * 300 / empty[..., 0].size, rel=0.02)
    empty = draw_prior(tmp_path / "photo.png", DepthPrior(nothing, nothing), sources)
    assert share_of(empty, UNKNOWN) == pytest.approx(3 * 400 * 300 / empty[..., 0].size, rel=0.02)
    full = draw_prior(
        tmp_path / "photo.png", DepthPrior(known, np.float32(0.1) * known), sources + np.uint8(Source.MONO)
    )
    assert share_of(full, UNKNOWN) < 0.001
