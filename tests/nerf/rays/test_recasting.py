from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.transforms import look_at
from depthrf.nerf.options import RecastOptions
from depthrf.nerf.rays.batch import Bounds, RayBatch
from depthrf.nerf.rays.pixel_store import PixelStore
from depthrf.nerf.rays.recasting import smooth_mask

CPU = torch.device("cpu")
CAMERA = Camera(40, 30, 40.0, 40.0, 20.0, 15.0)
UP = np.array([0.0, -1.0, 0.0])

Array = NDArray[np.float32]


def views() -> list[View]:
    """The next cameras are 0.3, 0.3 and 0.8 away."""
    centres = ([0.0, 0.0, -2.0], [0.3, 0.0, -2.0], [1.1, 0.0, -2.0])
    return [View(f"{i}.png", CAMERA, look_at(np.array(c), np.zeros(3), UP)) for i, c in enumerate(centres)]


def depth_of(view: View, bar: bool) -> Array:
    """Of a wall at z = 0, and of a bar before it: |x| < 0.1, -1 < z < -0.7."""
    directions = CAMERA.directions(CAMERA.pixel_centres()) @ view.world_from_cam[:3, :3].T
    x, z = view.centre[0], view.centre[2]
    depth = -z / directions[..., 2]
    if bar:
        sides = np.sort((np.array([-0.1, 0.1]) - x) / directions[..., :1], axis=-1)
        ends = (np.array([-1.0, -0.7]) - z) / directions[..., 2:]
        enters, leaves = np.maximum(sides[..., 0], ends[..., 0]), np.minimum(sides[..., 1], ends[..., 1])
        depth = np.where(enters < leaves, enters, depth)
    return depth.astype(np.float32)


def store(sigma: float = 0.005, *, bar: bool = False, gaps: float = 0.0) -> PixelStore:
    rng = np.random.default_rng(0)
    depths = [np.where(rng.random((30, 40)) < gaps, np.float32(0.0), depth_of(view, bar)) for view in views()]
    images = [rng.integers(0, 255, (30, 40, 3)).astype(np.uint8) for _ in depths]
    priors = [DepthPrior(depth, np.float32(sigma) * depth) for depth in depths]
    return PixelStore(views(), images, priors, bounds=Bounds(0.5, 4.0), device=CPU)


def before_and_after(s: PixelStore, options: RecastOptions) -> tuple[RayBatch, RayBatch, torch.Tensor]:
    """The rays of all pixels, the same recast, and which of them were."""
    pixel = torch.arange(len(s.rgb))
    photo, local = pixel // 1200, pixel % 1200
    x, y = (local % 40).float() + 0.5, (local // 40).float() + 0.5
    before = s.cameras.batch(photo, x, y, s.rgb / 255.0, s.depth, s.sigma)
    after = s.surfaces.recast(before, pixel, options, torch.Generator().manual_seed(0))
    return before, after, (after.origins != before.origins).any(-1)


def test_recast_rays_meet_the_surface_of_their_pixel_at_its_depth() -> None:
    before, after, moved = before_and_after(store(), RecastOptions())
    points = [r.origins + r.depth[:, None] * r.directions for r in (before, after)]
    torch.testing.assert_close(*points, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(before.directions.norm(dim=-1), after.directions.norm(dim=-1))
    assert torch.equal(before.viewdirs, after.viewdirs)
    assert torch.equal(before.rgb, after.rgb)
    assert float(moved.float().mean()) > 0.98


@pytest.mark.parametrize(("reach", "most"), [(1.0, 0.3), (0.5, 0.15), (100.0, np.inf)])
def test_they_start_to_every_side_of_their_camera_and_not_beyond_the_next(reach: float, most: float) -> None:
    before, after, moved = before_and_after(store(), RecastOptions(reach=reach))
    distance = (before.depth * before.directions.norm(dim=-1))[moved]
    one, other = (r.directions[moved] / r.directions[moved].norm(dim=-1, keepdim=True) for r in (before, after))
    side = torch.linalg.cross(one, other)
    share = side.norm(dim=-1).asin() / (most / distance).clamp_max(0.2)
    assert 0.98 < float(share.max()) < 1.001
    assert float(share.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(side.mean(0).norm() / side.norm(dim=-1).mean()) < 0.05


def test_rays_without_a_sure_depth_stay_as_they_are() -> None:
    assert not before_and_after(store(sigma=0.03), RecastOptions())[2].any()
    s = store(gaps=0.05)
    moved = before_and_after(s, RecastOptions())[2]
    smooth = torch.cat([smooth_mask(depth).flatten() for depth in s.depth.view(3, 30, 40)])
    assert not moved[~smooth].any()
    assert float(moved[smooth].float().mean()) > 0.98


def test_rays_are_not_cast_through_another_surface() -> None:
    """Rays to the wall beside the bar would have to pass through it from its other side."""
    s = store(bar=True)
    before, after, moved = before_and_after(s, RecastOptions(reach=2.0))
    wall = moved & ((before.origins + before.depth[:, None] * before.directions)[:, 2].abs() < 1e-3)
    assert float(wall.sum() / s.surfaces.certain.sum()) > 0.5
    start, direction = after.origins[wall], after.directions[wall]
    inside = torch.zeros(len(start), dtype=torch.bool)
    for z in np.linspace(-0.97, -0.73, 9):
        inside |= (start + direction * ((z - start[:, 2]) / direction[:, 2])[:, None])[:, 0].abs() < 0.07
    assert float(inside.float().mean()) < 0.01  # a ray is looked at in some places only
    free = s.surfaces.hidden(before.camera_idx, (before.origins + 0.3 * before.directions)[:, None])
    assert not free.any()


def test_photos_that_look_away_do_not_tell_what_is_free() -> None:
    away = View("away.png", CAMERA, look_at(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 9.0]), UP))
    depths = [depth_of(views()[0], bar=True), np.full((30, 40), 5.0, dtype=np.float32)]
    priors = [DepthPrior(depth, np.float32(0.005) * depth) for depth in depths]
    images = [np.zeros((30, 40, 3), dtype=np.uint8)] * 2
    s = PixelStore([views()[0], away], images, priors, bounds=Bounds(0.5, 9.0), device=CPU)
    points = torch.tensor([[[0.0, 0.0, -1.2], [0.0, 0.0, -0.85], [0.0, 0.0, 2.0]]])
    assert s.surfaces.hidden(torch.tensor([0]), points).tolist() == [[False, True, False]]


def test_depth_is_steady_where_no_neighbour_lies_on_another_surface() -> None:
    rng = np.random.default_rng(0)
    depth = np.where(rng.random((20, 30)) < 0.03, 0.0, 2.0 + 0.3 * (np.mgrid[:20, :30][1] > 14)).astype(np.float32)
    found = smooth_mask(torch.from_numpy(depth)).numpy()
    assert 0 < found.sum() < found.size
    for row, col in np.ndindex(*found.shape):
        near = depth[max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2]
        assert found[row, col] == (near.min() > 0 and near.max() - near.min() < 0.05 * near.max())
