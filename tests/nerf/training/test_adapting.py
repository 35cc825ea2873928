from __future__ import annotations

from dataclasses import replace

import pytest

from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions, PixelOptions
from depthrf.nerf.training.adapting import adapted

OBJECT = ModelOptions(background="white", rays_across=2)
REST = LossOptions(), OptimiserOptions()


@pytest.mark.parametrize("num_photos", [3, 9, 10])
def test_few_photos_of_an_object_get_unseen_rays_and_plain_colours(num_photos: int) -> None:
    asked = (
        LossOptions(depth_final=0.01, grid_decay=0.03),
        OptimiserOptions(rate=2e-2, pixels=PixelOptions(depth_share=0.6, contrast_share=0.5)),
    )
    model, losses, optimiser = adapted(OBJECT, *asked, FewPhotosOptions(), num_photos=num_photos, pixel_width=1e-4)
    few = num_photos <= 9
    assert model.field.view_degree == (0 if few else OBJECT.field.view_degree)
    assert (losses.unseen.share > 0) == few
    assert optimiser.pixels.jitter == few
    assert losses.depth_final == (1.0 if few else 0.01)
    assert losses.grid_decay == (0.1 if few else 0.03)
    assert model.rays_across == (1 if few else 2)
    assert (optimiser.rate, optimiser.rate_final) == ((1e-2, 1e-3) if few else (2e-2, 1e-3))
    assert optimiser.pixels.depth_share == (0.25 if few else 0.6)
    assert optimiser.pixels.contrast_share == (0.0 if few else 0.5)


def test_rooms_and_most_0_change_nothing() -> None:
    for model, few in ((ModelOptions(), FewPhotosOptions()), (OBJECT, FewPhotosOptions(max_photos=0))):
        assert adapted(model, *REST, few, num_photos=3, pixel_width=1e-4) == (model, *REST)


@pytest.mark.parametrize(("pixel_width", "finest"), [(1e-4, 2048), (0.01, 400), (0.5, 32)])
def test_cells_are_not_finer_than_pixels(pixel_width: float, finest: int) -> None:
    model, *_ = adapted(ModelOptions(), *REST, FewPhotosOptions(), num_photos=30, pixel_width=pixel_width)
    assert model == replace(
        ModelOptions(), field=replace(ModelOptions().field, grid=replace(ModelOptions().field.grid, finest=finest))
    )


@pytest.mark.parametrize("pose_rate", [0.0, 5e-4])
def test_rays_are_cast_from_their_own_camera_while_its_pose_is_learnt(pose_rate: float) -> None:
    asked = OptimiserOptions(pose_rate=pose_rate)
    *_, optimiser = adapted(ModelOptions(), LossOptions(), asked, FewPhotosOptions(), num_photos=9, pixel_width=1e-4)
    assert (optimiser.pixels.recast.share > 0.0) == (pose_rate == 0.0)
