"""Other photos decide between two depths: which candidate wins is known from the made-up room."""

from __future__ import annotations

import numpy as np
import pytest

from depthrf.depth.voting import Witness, confirmed, count_votes
from depthrf.geometry.camera import DepthPrior
from tests.scenes.room import CAMERA, depth_map, views


def prior(depth: np.ndarray, relative: float = 0.005) -> DepthPrior:
    depth = depth.astype(np.float32)
    return DepthPrior(depth, np.float32(relative) * depth)


def witnesses() -> list[Witness]:
    return [Witness.of(view, prior(depth_map(view))) for view in views()[1:]]


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_the_rival_wins_where_it_is_right_whichever_is_said_to_be_surer(factor: float) -> None:
    view = views()[0]
    true, wrong = prior(depth_map(view), 0.02), prior(factor * depth_map(view), 0.005)
    disputed = np.zeros(true.depth.shape, dtype=bool)
    disputed[30:60, 40:70] = True
    found = confirmed(view, wrong, true, disputed, witnesses())
    assert found[disputed].mean() > 0.97
    assert not found[~disputed].any()
    assert confirmed(view, true, wrong, disputed, witnesses())[disputed].mean() < 0.03


def test_one_vote_is_enough_only_where_there_is_one_other_photo() -> None:
    view = views()[0]
    true, wrong = prior(depth_map(view)), prior(1.25 * depth_map(view))
    disputed = np.zeros(true.depth.shape, dtype=bool)
    disputed[30:60, 40:70] = True
    sees, *others = witnesses()
    blind = [Witness(w.view, np.zeros_like(w.depth), w.sigma) for w in others]
    assert confirmed(view, wrong, true, disputed, [sees])[disputed].mean() > 0.97
    assert not confirmed(view, wrong, true, disputed, [sees, *blind]).any()
    assert not confirmed(view, wrong, true, disputed, []).any()


def test_votes_for_against_and_none() -> None:
    """On the surface every photo that sees the point is for it, before it all are against, behind it none says."""
    view = views()[1]
    point = view.camera.directions(np.array([[CAMERA.width / 2, CAMERA.height / 2]]))
    depth = depth_map(view)[CAMERA.height // 2, CAMERA.width // 2]
    others = [Witness.of(v, prior(depth_map(v))) for v in views() if v.name != view.name]
    found = [count_votes(view, factor * depth * point, np.array([0.005]), others)[0] for factor in (1.0, 0.8, 1.2)]
    assert found == [3.0, -3.0, 0.0]


def test_disputed_pixels_of_a_witness_do_not_vote() -> None:
    view, other = views()[:2]
    everywhere = np.ones((CAMERA.height, CAMERA.width), dtype=bool)
    silent = Witness.of(other, prior(depth_map(other)), everywhere)
    point = depth_map(view)[40, 50] * view.camera.directions(np.array([[50.5, 40.5]]))
    assert count_votes(view, point, np.array([0.005]), [silent]).tolist() == [0.0]
