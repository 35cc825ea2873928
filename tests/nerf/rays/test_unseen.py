from __future__ import annotations

import numpy as np
import pytest
import torch

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at
from depthrf.nerf.options import UnseenOptions
from depthrf.nerf.rays.batch import Bounds, view_rays
from depthrf.nerf.rays.unseen import Turntable, with_neighbours

FOCUS = np.array([0.3, -0.2, 0.5])
UP = np.array([0.0, -1.0, 0.0])


def ring() -> list[View]:
    camera = Camera(8, 6, 8.0, 8.0, 4.0, 3.0)
    angles = np.linspace(0.0, 5.0, 6)
    centres = FOCUS + 2.0 * np.stack([np.cos(angles), np.full(6, -0.1), np.sin(angles)], axis=-1)
    return [View(f"{i}.png", camera, look_at(c, FOCUS, UP)) for i, c in enumerate(centres)]


def test_turned_rays_look_at_the_scene_from_as_far_away() -> None:
    views = ring()
    table = Turntable.of(views, torch.device("cpu"))
    torch.testing.assert_close(table.focus, torch.from_numpy(FOCUS).float(), atol=0.03, rtol=0.0)
    rays = view_rays(views[0], Bounds(0.5, 4.0), torch.device("cpu"))
    options = UnseenOptions(angle=3.0, tilt=0.4)
    turned = table.turned(rays, options, torch.Generator().manual_seed(0))
    focus = table.focus
    torch.testing.assert_close((turned.origins - focus).norm(dim=-1), (rays.origins - focus).norm(dim=-1))
    torch.testing.assert_close(turned.directions.norm(dim=-1), rays.directions.norm(dim=-1))
    # A rigid motion keeps how near a ray passes the focus.
    distance = [torch.linalg.cross(r.viewdirs, focus - r.origins).norm(dim=-1) for r in (rays, turned)]
    torch.testing.assert_close(*distance, atol=1e-5, rtol=1e-4)
    assert (turned.camera_idx == -1).all()
    assert (turned.depth == 0).all()
    spread = (turned.origins - rays.origins).norm(dim=-1)
    assert spread.max() > 3.0
    assert spread.min() < 1.0


@pytest.mark.parametrize(("angle", "tilt"), [(0.0, 0.4), (3.0, 0.0)])
def test_angles_stay_within_their_bounds(angle: float, tilt: float) -> None:
    views = ring()
    table = Turntable.of(views, torch.device("cpu"))
    rays = view_rays(views[0], Bounds(0.5, 4.0), torch.device("cpu"))
    turned = table.turned(rays, UnseenOptions(angle=angle, tilt=tilt), torch.Generator().manual_seed(0))
    up = table.up
    heights = [((r.origins - table.focus) @ up) / 2.0 for r in (rays, turned)]
    if tilt == 0.0:
        torch.testing.assert_close(*heights, atol=1e-4, rtol=0.0)
    else:
        change = torch.asin(heights[1].clamp(-1, 1)) - torch.asin(heights[0].clamp(-1, 1))
        assert change.abs().max() <= tilt + 0.02
        assert change.abs().max() > 0.5 * tilt


def test_neighbours_lie_around_their_ray_within_reach() -> None:
    rays = view_rays(ring()[0], Bounds(0.5, 4.0), torch.device("cpu"))
    found = with_neighbours(rays, 0.2, torch.Generator().manual_seed(0))
    here, one, other = found.viewdirs.chunk(3)
    torch.testing.assert_close(here, rays.viewdirs)
    torch.testing.assert_close(found.origins.chunk(3)[2], rays.origins)
    torch.testing.assert_close(found.directions.norm(dim=-1).chunk(3)[1], rays.directions.norm(dim=-1))
    torch.testing.assert_close(found.viewdirs.norm(dim=-1), torch.ones(3 * len(here)))
    angles = [torch.linalg.cross(here, v).norm(dim=-1).asin() for v in (one, other)]
    torch.testing.assert_close(*angles, atol=1e-4, rtol=1e-3)
    assert angles[0].max() < 0.2001
    assert angles[0].min() > 0.0019
    assert 0.01 < angles[0].median() < 0.04
    axes = [v - here * (v * here).sum(-1, keepdim=True) for v in (one, other)]
    assert float((axes[0] * axes[1]).sum(-1).abs().max()) < 1e-6
