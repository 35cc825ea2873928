from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.transforms import look_at
from depthrf.nerf.normalise import depth_bounds, normalise_view, normalising_similarity
from depthrf.nerf.options import PixelOptions, RecastOptions
from depthrf.nerf.rays.batch import Bounds, view_rays
from depthrf.nerf.rays.pixel_store import EVENLY, PixelStore, contrast_mask, resize_prior

CPU = torch.device("cpu")
BOUNDS = Bounds(0.1, 5.0)
UP = np.array([0.0, -1.0, 0.0])


def views() -> list[View]:
    poses = [look_at(np.array([x, 0.2, -3.0]), np.zeros(3), UP) for x in (-1.0, 0.0, 1.5)]
    cameras = [Camera(8, 6, 9.0, 9.5, 4.2, 2.9), Camera(6, 8, 7.0, 7.0, 3.0, 4.0), Camera(8, 6, 9.0, 9.5, 4.2, 2.9)]
    return [View(f"{i}.jpg", c, p) for i, (c, p) in enumerate(zip(cameras, poses, strict=True))]


def store(share: float = 0.1) -> PixelStore:
    images, priors = [], []
    for number, view in enumerate(views()):
        h, w = view.camera.height, view.camera.width
        rows, cols = np.mgrid[:h, :w]
        images.append(np.stack([np.full((h, w), number), rows, cols], -1).astype(np.uint8))
        depth = np.where(np.random.default_rng(number).random((h, w)) < share, 1.0 + number, 0.0).astype(np.float32)
        priors.append(DepthPrior(depth, 0.1 * depth))
    return PixelStore(views(), images, priors, bounds=BOUNDS, device=CPU)


def test_t_along_a_ray_is_z_depth() -> None:
    view = views()[0]
    rays = view_rays(view, BOUNDS, CPU)
    points = (rays.origins + 2.7 * rays.directions).double().numpy()
    in_cam = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    np.testing.assert_allclose(in_cam[:, 2], 2.7, atol=1e-5)


def test_rays_go_through_pixel_centres() -> None:
    view = views()[0]
    rays = view_rays(view, BOUNDS, CPU)
    points = (rays.origins + 2.0 * rays.directions).double().numpy()
    in_cam = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    np.testing.assert_allclose(view.camera.project(in_cam), view.camera.pixel_centres().reshape(-1, 2), atol=1e-4)


def test_batches_pair_each_pixel_with_its_own_ray() -> None:
    """Photos of different sizes: the colours encode photo, row and column, which must agree with the ray."""
    s = store()
    batch = s.sample(500, torch.Generator().manual_seed(0), PixelOptions(depth_share=0.3))
    code = (batch.rgb * 255).round().long()
    for ray in range(0, 500, 7):
        number, row, col = code[ray].tolist()
        assert number == int(batch.camera_idx[ray])
        view = views()[number]
        expected = view.world_from_cam[:3, :3] @ view.camera.directions(np.array([col + 0.5, row + 0.5]))
        np.testing.assert_allclose(batch.directions[ray].numpy(), expected, atol=1e-5)
        if batch.depth[ray] > 0:
            assert float(batch.depth[ray]) == 1.0 + number


def test_sparse_priors_get_their_share_of_the_batch() -> None:
    options = replace(EVENLY, depth_share=0.4)
    batch = store(0.05).sample(1000, torch.Generator().manual_seed(0), options)
    assert (batch.depth > 0).float().mean() >= 0.4
    without = store(0.0).sample(1000, torch.Generator().manual_seed(0), options)
    assert (without.depth == 0).all()


def test_shares_that_exceed_a_batch_leave_it_as_large_as_asked() -> None:
    s = store(0.1)
    s.rgb[0] = 255
    batch = s.sample(100, torch.Generator().manual_seed(0), PixelOptions(depth_share=0.95, contrast_share=0.95))
    assert len(batch.rgb) == 100
    assert (batch.depth > 0).float().mean() > 0.8


def test_contrast_is_a_tenth_of_the_range_within_three_pixels() -> None:
    rng = np.random.default_rng(0)
    image = (rng.integers(0, 60, (9, 14, 3)) * (rng.random((9, 14, 1)) < 0.1)).astype(np.uint8)
    found = contrast_mask(torch.from_numpy(image)).numpy()
    assert 0 < found.sum() < found.size
    for row, col in np.ndindex(*found.shape):
        near = image[max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2].reshape(-1, 3).astype(int)
        assert found[row, col] == ((near.max(0) - near.min(0)).max() >= 24)


def test_edges_get_their_share_of_the_batch() -> None:
    """One bright pixel in the first photo: it and its eight neighbours have contrast, nothing else has."""
    views_, spot = views(), np.zeros((6, 8, 3), dtype=np.uint8)
    spot[2, 4] = 200
    images = [spot, np.zeros((8, 6, 3), dtype=np.uint8), np.zeros((6, 8, 3), dtype=np.uint8)]
    priors = [DepthPrior(*np.zeros((2, *i.shape[:2]), dtype=np.float32)) for i in images]
    rows, cols = np.mgrid[:6, :8]
    near = (abs(rows - 2) <= 1) & (abs(cols - 4) <= 1)
    options = PixelOptions(depth_share=0.5, contrast_share=0.6)

    def share(used: list[NDArray[np.bool_]] | None = None) -> float:
        s = PixelStore(views_, images, priors, used, bounds=BOUNDS, device=CPU)
        batch = s.sample(2000, torch.Generator().manual_seed(0), options)
        local = (views_[0].cam_from_world[:3, :3] @ batch.directions.double().numpy().T)[:2].T
        pixel = np.floor(local * [9.0, 9.5] + [4.2, 2.9]).astype(int)
        first = batch.camera_idx.numpy() == 0
        return float(near[pixel[first, 1], pixel[first, 0]].sum()) / 2000

    assert share() == pytest.approx(0.6, abs=0.03)
    assert share([~near, *(np.ones(i.shape[:2], dtype=np.bool_) for i in images[1:])]) == 0.0


def test_rays_with_sure_depth_are_cast_from_up_to_halfway_to_the_next_camera() -> None:
    """The cameras stand at x = -1, 0, 1.5: their next ones are 1, 1 and 1.5 away."""
    s = store(1.0)
    s.sigma *= 0.1
    s.depth[:] = 3.0
    batch = s.sample(1000, torch.Generator().manual_seed(0), replace(EVENLY, recast=RecastOptions(reach=0.5)))
    plain = s.sample(1000, torch.Generator().manual_seed(0))
    moved = (batch.origins - plain.origins).norm(dim=-1)
    assert float((moved > 0).float().mean()) == pytest.approx(0.5, abs=0.06)
    assert 0.45 < float(moved.max()) < 0.5
    assert torch.equal(batch.rgb, plain.rgb)
    unsure = store(1.0).sample(1000, torch.Generator().manual_seed(0), replace(EVENLY, recast=RecastOptions()))
    assert torch.equal(unsure.origins, plain.origins)


def test_resized_prior_keeps_keypoints_and_never_averages() -> None:
    depth = np.zeros((60, 80), dtype=np.float32)
    depth[10, 13], depth[41, 77] = 2.0, 5.0
    small = resize_prior(DepthPrior(depth, depth * 0.1), Camera(20, 15, 20, 20, 10, 7.5))
    assert set(np.unique(small.depth)) == {0.0, 2.0, 5.0}
    assert small.depth[2, 3] == 2.0
    assert small.depth[10, 19] == 5.0
    assert small.sigma[2, 3] == pytest.approx(0.2)


def test_normalisation_puts_the_scene_into_the_unit_ball_and_scales_depth() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 3)) * [4.0, 1.0, 2.0] + [10.0, -3.0, 7.0]
    similarity = normalising_similarity(views(), points)
    assert np.quantile(np.linalg.norm(similarity.apply(points), axis=1), 0.9) <= 1.0
    view = views()[1]
    normalised = normalise_view(view, similarity)
    assert np.linalg.norm(normalised.centre) <= 1.0 + 1e-9
    z = (points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3])[:, 2]
    moved = similarity.apply(points)
    z_normalised = (moved @ normalised.cam_from_world[:3, :3].T + normalised.cam_from_world[:3, 3])[:, 2]
    np.testing.assert_allclose(z_normalised, similarity.scale * z, atol=1e-9)


def test_bounds_hold_the_known_depths_with_a_margin() -> None:
    bounds = depth_bounds(np.linspace(0.5, 2.0, 1000))
    assert 0 < bounds.near < 0.3
    assert bounds.far > 3.0
    assert depth_bounds(np.zeros(0)).near > 0


def test_pixel_jitter_spreads_rays_over_their_pixels() -> None:
    s = store(1.0)
    plain = s.sample(300, torch.Generator().manual_seed(0))
    spread = s.sample(300, torch.Generator().manual_seed(0), replace(EVENLY, jitter=1.0))
    assert torch.equal(plain.rgb, spread.rgb)
    torch.testing.assert_close(plain.depth, spread.depth)
    rotation = s.cameras.world_from_cam[plain.camera_idx, :3, :3]
    moved = (rotation.transpose(1, 2) @ (spread.directions - plain.directions)[..., None])[:, :2, 0]
    pixels = moved * s.cameras.intrinsics[plain.camera_idx, :2]
    assert pixels.abs().max() <= 0.5 + 1e-3
    assert pixels.abs().max() > 0.45
    assert float(pixels.mean()) == pytest.approx(0.0, abs=0.05)


def test_rays_of_a_pixel_fill_its_parts_and_follow_one_another() -> None:
    s, across = store(1.0), 3
    pixels = s.sample(200, torch.Generator().manual_seed(0), PixelOptions(depth_share=0.0))
    rays = s.sample(1800, torch.Generator().manual_seed(0), PixelOptions(depth_share=0.0), across=across)
    for name in ("rgb", "depth", "sigma", "camera_idx", "near", "far"):
        whole = getattr(pixels, name).repeat_interleave(across**2, 0)
        torch.testing.assert_close(getattr(rays, name), whole)
    whole = pixels.directions.repeat_interleave(across**2, 0)
    torch.testing.assert_close(rays.radii, pixels.radii.repeat_interleave(across**2) / across)
    rotation = s.cameras.world_from_cam[rays.camera_idx, :3, :3]
    moved = (rotation.transpose(1, 2) @ (rays.directions - whole)[..., None])[:, :2, 0]
    parts = ((moved * s.cameras.intrinsics[rays.camera_idx, :2] + 0.5) * across).view(200, across**2, 2)
    expected = torch.tensor([[x, y] for y in range(across) for x in range(across)])
    within = parts - expected
    assert -1e-3 < within.min() < 0.05
    assert 0.95 < within.max() < 1.0 + 1e-3


def test_pixel_width_is_the_median_of_depth_over_focal_length() -> None:
    depths = [np.full(48, 1.0 + number) / view.camera.fx for number, view in enumerate(views())]
    assert store(1.0).pixel_width == pytest.approx(float(np.median(np.concatenate(depths))), rel=1e-5)
    assert store(0.0).pixel_width == pytest.approx(0.5 * (0.1 + 5.0) / 9.0, rel=1e-5)
