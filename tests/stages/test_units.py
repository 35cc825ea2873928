"""Given poses may be in any unit: what comes out is the same but for the unit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depthrf.geometry.camera import DepthPrior, View
from depthrf.geometry.transforms import rigid
from depthrf.io.depth.depth_maps import read_prior, write_prior
from depthrf.io.photos.images import write_png
from depthrf.io.poses.transforms_json import write_transforms
from depthrf.io.trained_field import load_field
from depthrf.nerf.normalise import normalise_view
from depthrf.nerf.rendering.views import render_view
from depthrf.stages import align, merge, train
from depthrf.workspace import Workspace
from tests.scenes.room import depth_map, make_workspace, views
from tests.stages.test_train import options


def in_unit(view: View, unit: float) -> View:
    """The view in a world ``unit`` times as large."""
    return replace(view, cam_from_world=rigid(view.cam_from_world[:3, :3], unit * view.cam_from_world[:3, 3]))


def prepared(root: Path, unit: float) -> Workspace:
    workspace = make_workspace(root, unit=unit)
    for view in views():
        depth = depth_map(view)
        shade = 127 + 100 * np.sin(3 * depth[..., None] + np.arange(3))
        write_png(workspace.undistorted_images / view.name, shade.astype(np.uint8))
        prior = DepthPrior(np.float32(unit) * depth, np.float32(0.01 * unit) * depth)
        write_prior(workspace.prior_depth / f"{view.stem}.npz", prior, np.zeros(depth.shape, np.uint8))
    scaled = [in_unit(view, unit) for view in views()]
    write_transforms(workspace.transforms, scaled, image_folder="undistorted/images")
    return workspace


def trained_depth(workspace: Workspace, view: View) -> NDArray[np.float32]:
    """Rendered z-depth of the trained field in scene units."""
    field = load_field(workspace.checkpoint, torch.device("cpu"))
    rendered = render_view(field.model, normalise_view(view, field.normalised_from_scene), field.bounds)
    return np.asarray(rendered.depth / field.normalised_from_scene.scale)


@pytest.mark.parametrize("unit", [1e-4, 1e6])
def test_training_is_the_same_in_any_unit(tmp_path: Path, unit: float) -> None:
    metric, other = prepared(tmp_path / "metric", 1.0), prepared(tmp_path / "other", unit)
    expected, found = train.run(metric, options(steps=40)), train.run(other, options(steps=40))
    assert found.final_psnr == pytest.approx(expected.final_psnr, abs=0.05)
    assert found.depth_coverage == expected.depth_coverage
    view = views()[1]
    depths = trained_depth(metric, view), trained_depth(other, in_unit(view, unit)) / unit
    np.testing.assert_allclose(depths[1], depths[0], rtol=0.02)


@pytest.mark.parametrize("unit", [1e-4, 1e6])
def test_the_prior_is_the_same_in_any_unit(tmp_path: Path, unit: float) -> None:
    found = []
    for name, size in (("metric", 1.0), ("other", unit)):
        workspace = make_workspace(tmp_path / name, unit=size)
        align.run(workspace, align.Options())
        merge.run(workspace, merge.Options())
        prior, source = read_prior(workspace.prior_depth / f"{views()[1].stem}.npz")
        found.append((prior.depth / size, prior.sigma / size, source))
    for one, another in zip(*found, strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-4)
