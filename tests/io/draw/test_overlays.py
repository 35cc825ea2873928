import numpy as np
import pytest

from depthrf.io.draw.overlays import UNKNOWN, ColourScale, Panel, dots, grid, paint_error, paint_labels, titled_row


def test_depth_colours_run_in_inverse_depth() -> None:
    scale = ColourScale(1.0, 4.0, inverse=True)
    np.testing.assert_allclose(scale.position(np.array([4.0, 1.6, 1.0, 0.5, 9.0])), [0, 0.5, 1, 1, 0])
    assert scale.ticks(3) == pytest.approx([4.0, 1.6, 1.0])


def test_what_is_not_known_is_grey() -> None:
    painted = ColourScale(1.0, 4.0, inverse=True).paint(np.array([0.0, np.nan, 2.0]))
    assert tuple(painted[0]) == tuple(painted[1]) == UNKNOWN != tuple(painted[2])
    assert tuple(ColourScale(-1.0, 1.0, "signed").paint(np.array([0.0]))[0]) == (245, 245, 245)


def test_a_map_without_depth_still_has_a_scale() -> None:
    empty = np.zeros((4, 6), dtype=np.float32)
    assert (ColourScale.of_depth(empty).paint(empty) == UNKNOWN).all()
    flat = np.full((4, 6), 2.0)
    assert np.isfinite(ColourScale.of_depth(flat).position(flat)).all()


def test_dots_lie_on_their_pixel_and_leave_the_picture_alone() -> None:
    picture = np.zeros((40, 60, 3), dtype=np.uint8)
    scale = ColourScale(0.0, 1.0, "viridis")
    drawn = dots(picture, np.array([[20.5, 10.5]]), np.array([1.0]), scale, radius=3)
    assert not picture.any()
    assert tuple(drawn[10, 20]) == tuple(scale.paint(np.array([1.0]))[0])
    row, column = np.nonzero(drawn.any(axis=-1))
    assert (row.mean(), column.mean()) == pytest.approx((10, 20))


def test_grid_holds_every_panel() -> None:
    red, green = (200, 0, 0), (0, 200, 0)
    labels = paint_labels(np.array([[1, 2, 3]] * 3), {1: red, 2: green})
    assert [tuple(p) for p in labels[0]] == [red, green, UNKNOWN]
    panels = [Panel("labels", labels, names={"one": red, "two": green}), Panel("b", labels, ColourScale(0.0, 1.0), "m")]
    sheet = grid([*panels, panels[0]], columns=2, panel_width=90, heading="photo")
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 2 * 98 + 8
    for colour in (red, green):
        assert (sheet == colour).all(-1).sum() > 3 * 30 * 80


def test_errors_grow_from_black_to_the_brightest_colour() -> None:
    photo = np.full((1, 3, 3), 100, dtype=np.uint8)
    rendered = photo + np.array([0, 32, 64], dtype=np.uint8)[None, :, None]
    none, half, full = paint_error(rendered, photo)[0].astype(int).sum(-1)
    assert none < 10 < half < full
    np.testing.assert_array_equal(paint_error(photo + 155, photo)[0, 0], paint_error(rendered, photo)[0, 2])


def test_titled_row_keeps_pictures_as_they_are() -> None:
    pictures = [("one", np.full((20, 30, 3), 7, np.uint8)), ("two", np.full((20, 50, 3), 9, np.uint8))]
    row = titled_row(pictures)
    assert row.shape[1] == 80
    assert (row[-20:, :30] == 7).all()
    assert (row[-20:, 30:] == 9).all()
    assert (row[:-20, :30] < 128).any()
    assert (row[:-20, 30:] < 128).any()
