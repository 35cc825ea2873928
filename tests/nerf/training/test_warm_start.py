from __future__ import annotations

import numpy as np
import pytest
import torch

from depthrf.nerf.options import FewPhotosOptions, LossOptions, OptimiserOptions
from depthrf.nerf.rendering.views import render_view
from depthrf.nerf.training.warm_start import prepare_from, regrouped
from tests.scenes.wall import BOUNDS, CPU, SMALL, trainer, wall_store, wall_views


def test_rows_are_those_of_the_same_photo_and_zero_for_new_ones() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert regrouped(values, [1, -1, 0]).tolist() == [[3.0, 4.0], [0.0, 0.0], [1.0, 2.0]]


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_training_starts_where_the_finished_field_ended(average: float) -> None:
    """The same photos in another order: each keeps its appearance, and novel views look the same."""
    finished = trainer(SMALL, 15, average=average)
    store = wall_store()
    while finished.step < finished.total:
        finished.advance(store)
    with torch.no_grad():
        finished.eval_model.appearance.normal_()
    state = {"model": finished.eval_model.state_dict()}
    options = OptimiserOptions(steps=4, batch_rays=64, mixed_precision=False, average=average)
    rows = [2, 0, -1]
    started = prepare_from(
        state, SMALL, store, LossOptions(), FewPhotosOptions(), options, rows=rows, seed=0, device=CPU
    )
    assert (started.step, started.total) == (0, 4)
    expected = finished.eval_model.appearance.detach()
    for row, own in zip(rows, started.model.appearance.detach(), strict=True):
        assert torch.equal(own, expected[row] if row >= 0 else torch.zeros_like(own))
    before, after = (
        render_view(model, wall_views()[1], BOUNDS, compiled=False)
        for model in (finished.eval_model, started.eval_model)
    )
    np.testing.assert_array_equal(before.rgb, after.rgb)
    started.advance(store)
    assert started.step == 1


def test_pose_corrections_stay_with_their_photos() -> None:
    state = {
        "model": trainer(SMALL, 1).model.state_dict(),
        "poses": {"rotation": torch.arange(9.0).view(3, 3), "translation": torch.ones(3, 3)},
    }
    options = OptimiserOptions(steps=4, batch_rays=64, pose_rate=1e-3)
    parts = SMALL, wall_store(), LossOptions(), FewPhotosOptions(), options
    started = prepare_from(state, *parts, rows=[-1, 2, 0], seed=0, device=CPU)
    assert started.poses is not None
    assert started.poses.rotation.tolist() == [[0, 0, 0], [6, 7, 8], [0, 1, 2]]
    assert started.poses.translation[0].tolist() == [0, 0, 0]
