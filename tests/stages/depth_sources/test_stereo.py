"""The depth stage without weights: stereo depth on disk, resumed after an interruption, merged into the prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from depthrf.depth.merging import Source
from depthrf.depth.stereo.fusion import DepthMap
from depthrf.depth.stereo.matching import Photo
from depthrf.depth.stereo.options import StereoOptions
from depthrf.geometry.camera import DepthPrior
from depthrf.io.depth.depth_maps import read_prior, write_prior
from depthrf.io.photos.images import write_png
from depthrf.stages import align, depth, merge
from depthrf.stages.depth_sources import stereo
from depthrf.storage import read_json, remove
from depthrf.workspace import Workspace
from tests.depth.stereo.test_matcher import texture
from tests.scenes.room import LENS, depth_along, depth_map, lens_directions, make_workspace, views

OPTIONS = depth.Options(source="stereo", device="cpu", stereo=StereoOptions(max_side=96, radius=2))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """After SfM, with photos that show the scene."""
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path / "weights"))
    return photographed(tmp_path / "w")


def photographed(root: Path, num_points: int = 150) -> Workspace:
    made = make_workspace(root, num_points=num_points)
    for view in views():
        camera = view.camera
        in_cam = camera.directions(camera.pixel_centres()) * depth_map(view)[..., None]
        world = (in_cam - view.cam_from_world[:3, 3]) @ view.cam_from_world[:3, :3]
        gray = texture(world[..., 0], world[..., 1] + world[..., 2])
        photo = np.repeat((255 * gray).astype(np.uint8)[..., None], 3, axis=-1)
        write_png(made.undistorted_images / view.name, photo)
    return made


def test_stereo_fills_the_prior(workspace: Workspace) -> None:
    summary = depth.run(workspace, OPTIONS)
    assert (summary.network, summary.num_stereo) == (None, 4)
    report = read_json(workspace.stereo_report)
    assert report["num_keypoints"] > 50
    assert report["median_ratio"] == pytest.approx(1.0, abs=0.02)
    assert report["sigma_factor"] >= 1.0
    pictures = {file.stem for file in (workspace.stereo_depth / "overlays").iterdir()}
    assert pictures == {view.stem for view in views()}
    align.run(workspace, align.Options())
    merged = merge.run(workspace, merge.Options())
    assert merged.num_stereo == 4
    assert merged.coverage["stereo"] > 0.4
    for view in views():
        prior, source = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        error = np.abs(prior.depth - depth_map(view)) / depth_map(view)
        assert np.median(error[source == Source.STEREO]) < 0.02
        assert (source == Source.MERGED).sum() > 10  # keypoints and stereo together


def test_stereo_goes_on_where_it_was_interrupted(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from depthrf.depth.stereo import matcher as stereo

    asked: list[str] = []
    original = stereo.estimate

    def counting(reference: list[Photo], *rest: Any) -> tuple[Tensor, Tensor]:
        asked.append(reference[0].view.name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return original(reference, *rest)

    monkeypatch.setattr(stereo, "estimate", counting)
    with pytest.raises(KeyboardInterrupt):
        depth.run(workspace, OPTIONS)
    depth.run(workspace, OPTIONS)
    assert len(asked) == 3 + 2  # the first two were kept
    depth.run(workspace, OPTIONS)
    assert len(asked) == 5
    whole = {p.name: p.read_bytes() for p in workspace.stereo_depth.glob("*.npz")}
    remove(workspace.stereo_depth)
    depth.run(workspace, OPTIONS)
    assert whole == {p.name: p.read_bytes() for p in workspace.stereo_depth.glob("*.npz")}
    asked[:] = ["earlier"] * 5
    write_png(workspace.undistorted_images / views()[0].name, np.zeros((72, 96, 3), np.uint8))
    depth.run(workspace, OPTIONS)
    assert len(asked) == 5 + 4  # all four match against the changed photo


def test_stereo_stands_in_for_missing_weights(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    options = depth.Options(device="cpu", stereo=OPTIONS.stereo)
    assert depth.run(workspace, options).num_stereo == 4
    said = capsys.readouterr().err
    assert "weights fetch omnidata" in said
    assert "Going on with stereo depth" in said
    assert depth.run(workspace, depth.Options(source="none")).num_stereo == 0
    assert not workspace.stereo_depth.exists()


def test_the_network_alone_without_weights_leaves_keypoints(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = depth.run(workspace, depth.Options(source="network"))
    assert (summary.num_maps, summary.num_stereo) == (0, 0)
    assert "Going on with SfM keypoints." in capsys.readouterr().err


def test_photos_without_texture_get_no_depth(workspace: Workspace) -> None:
    for view in views():
        write_png(workspace.undistorted_images / view.name, np.full((72, 96, 3), 90, np.uint8))
    assert depth.run(workspace, OPTIONS).num_stereo == 0
    align.run(workspace, align.Options())
    assert merge.run(workspace, merge.Options()).coverage["stereo"] == 0.0


def write_bent_maps(folder: Path) -> None:
    """Inverse depth of each photo, up to scale and shift, bent by up to 12 % across the photo."""
    folder.mkdir()
    lens_rays = lens_directions(LENS)
    height, width = lens_rays.shape[:2]
    across = np.linspace(-1.0, 1.0, width)
    for i, view in enumerate(views()):
        bend = 1.0 + 0.12 * np.cos(3.0 * across + i) * np.linspace(-1.0, 1.0, height)[:, None]
        np.save(folder / f"{view.stem}.npy", 0.2 + 1.5 * bend / depth_along(view, lens_rays))


def merged_error(workspace: Workspace, options: depth.Options) -> tuple[depth.Summary, float]:
    """Median relative error of the prior over all pixels, and what the depth stage said."""
    summary = depth.run(workspace, options)
    align.run(workspace, align.Options())
    merge.run(workspace, merge.Options())
    errors = []
    for view in views():
        prior, _ = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        known = prior.depth > 0
        assert known.mean() > 0.9
        errors.append((np.abs(prior.depth - depth_map(view)) / depth_map(view))[known])
    return summary, float(np.median(np.concatenate(errors)))


@pytest.mark.usefixtures("workspace")
def test_stereo_beside_given_maps_makes_the_prior_better(tmp_path: Path) -> None:
    """Few keypoints cannot straighten a bent map; stereo can."""
    workspace = photographed(tmp_path / "few", num_points=20)
    write_bent_maps(tmp_path / "maps")
    both = replace(OPTIONS, source="auto", mono_depth=tmp_path / "maps", mono_kind="inverse-depth")
    summary, error = merged_error(workspace, both)
    assert (summary.network, summary.num_maps, summary.num_stereo) == ("precomputed", 4, 4)
    rows = read_json(workspace.aligned_report)["photos"].values()
    assert all(row["num_stereo"] > 100 and row["accepted"] for row in rows)
    photos = read_json(workspace.prior_report)["photos"].values()
    assert all(row["stereo"] and row["mono"] for row in photos)
    maps_alone, error_of_maps = merged_error(workspace, replace(both, source="network"))
    assert maps_alone.num_stereo == 0
    assert not workspace.stereo_depth.exists()
    assert error < 0.7 * error_of_maps


def test_where_stereo_is_wrong_and_others_see_it_the_network_counts(workspace: Workspace, tmp_path: Path) -> None:
    write_bent_maps(tmp_path / "maps")
    both = replace(OPTIONS, source="auto", mono_depth=tmp_path / "maps", mono_kind="inverse-depth")
    depth.run(workspace, both)
    view = views()[0]
    path = workspace.stereo_depth / f"{view.stem}.npz"
    prior, source = read_prior(path)
    wrong = np.zeros(prior.depth.shape, dtype=bool)
    wrong[20:50, 30:60] = prior.depth[20:50, 30:60] > 0
    broken = DepthPrior(np.where(wrong, 0.7 * prior.depth, prior.depth), prior.sigma)
    write_prior(path, broken, source)
    align.run(workspace, align.Options())
    merge.run(workspace, merge.Options())
    merged, _ = read_prior(workspace.prior_depth / f"{view.stem}.npz")
    relative = np.abs(merged.depth - depth_map(view)) / depth_map(view)
    assert wrong.sum() > 200
    assert (relative[wrong] < 0.1).mean() > 0.9


def test_of_few_photos_one_other_that_agrees_is_enough() -> None:
    view = views()[0]
    shape = (view.camera.height, view.camera.width)
    known, blank = torch.full(shape, 2.0), torch.zeros(shape)
    both = [DepthMap(view, known, 0.02 * known)] * 2
    for number, kept in ((6, True), (20, False)):
        maps = both + [DepthMap(view, blank, blank)] * (number - 2)
        fused = stereo.fuse_all(maps, [[j for j in range(number) if j != i] for i in range(number)], 0.0)
        assert float((fused[0].depth > 0).float().mean()) > 0.9 if kept else not (fused[0].depth > 0).any()
        assert bool((fused[-1].depth > 0).any()) is False
