from __future__ import annotations

import numpy as np
import pytest

from depthrf.depth.resampling import cells_of, every_nth, nearest


@pytest.mark.parametrize(("size", "cells"), [(357, 160), (480, 160), (7, 7), (10, 3), (3, 10)])
def test_pixels_belong_to_the_cell_that_contains_their_centre(size: int, cells: int) -> None:
    expected = np.floor((np.arange(size) + 0.5) / size * cells + 1e-9)
    np.testing.assert_array_equal(cells_of(np.arange(size), size, cells), expected)


@pytest.mark.parametrize(("size", "other"), [(160, 357), (357, 160), (48, 13)])
def test_nearest_keeps_values_at_their_place(size: int, other: int) -> None:
    """A ramp of pixel centres comes back as the centres of the new pixels, to within half a source pixel."""
    ramp = np.broadcast_to((np.arange(size) + 0.5) / size, (4, size))
    found = nearest(ramp, other, 6)
    assert found.shape == (6, other)
    error = found[0] - (np.arange(other) + 0.5) / other
    assert np.abs(error).max() <= 0.5 / size + 1e-9
    assert abs(error.mean()) < 0.05 / size


def test_every_nth_takes_the_middle_of_blocks() -> None:
    values = np.arange(9 * 12).reshape(9, 12)
    np.testing.assert_array_equal(every_nth(values, 3), values[1::3, 1::3])
    np.testing.assert_array_equal(every_nth(values, 1), values)
    assert every_nth(values[:1, :1], 4).tolist() == [[0]]
