"""The depth stage without weights: stereo depth on disk, resumed after an interruption, merged into the prior."""

from __future__ import annotations

import numpy as np
import pytest

from depthrf.depth.merging import Source
from depthrf.depth.stereo_options import StereoOptions
from depthrf.io.depth_maps import read_prior
from depthrf.io.images import write_png
from depthrf.stages import align, depth, merge, stereo_depth
from depthrf.workspace import Workspace, read_json, remove, write_json
from tests.depth.scene import depth_map, make_workspace, views
from tests.depth.test_stereo import texture

OPTIONS = depth.Options(source="stereo", device="cpu", stereo=StereoOptions(max_side=96, radius=2))


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    """After SfM, with photos that show the scene."""
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path / "weights"))
    made = make_workspace(tmp_path / "w")
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
    report = read_json(stereo_depth.report_path(workspace))
    assert report["num_keypoints"] > 50
    assert report["median_ratio"] == pytest.approx(1.0, abs=0.02)
    assert report["sigma_factor"] >= 1.0
    pictures = {file.stem for file in (workspace.stereo_depth / "overlays").iterdir()}
    assert pictures == {view.stem for view in views()}
    write_json(workspace.record("sfm"), {"options": {"poses": None}})
    align.run(workspace, align.Options())
    merged = merge.run(workspace, merge.Options())
    assert merged.num_stereo == 4
    assert merged.coverage["stereo"] > 0.4
    for view in views():
        prior, source = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        error = np.abs(prior.depth - depth_map(view)) / depth_map(view)
        assert np.median(error[source == Source.STEREO]) < 0.02
        assert (source == Source.MERGED).sum() > 10  # keypoints and stereo together


def test_stereo_goes_on_where_it_was_interrupted(workspace: Workspace, monkeypatch) -> None:
    from depthrf.depth import stereo

    asked, original = [], stereo.estimate

    def counting(reference, *rest):
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


def test_stereo_stands_in_for_missing_weights(workspace: Workspace, capsys) -> None:
    options = depth.Options(device="cpu", stereo=OPTIONS.stereo)
    assert depth.run(workspace, options).num_stereo == 4
    said = capsys.readouterr().err
    assert "weights fetch omnidata" in said
    assert "Going on with stereo depth" in said
    assert depth.run(workspace, depth.Options(source="none")).num_stereo == 0
    assert not workspace.stereo_depth.exists()


def test_the_network_alone_without_weights_leaves_keypoints(workspace: Workspace, capsys) -> None:
    summary = depth.run(workspace, depth.Options(source="network"))
    assert (summary.num_maps, summary.num_stereo) == (0, 0)
    assert "Going on with SfM keypoints." in capsys.readouterr().err


def test_photos_without_texture_get_no_depth(workspace: Workspace) -> None:
    for view in views():
        write_png(workspace.undistorted_images / view.name, np.full((72, 96, 3), 90, np.uint8))
    assert depth.run(workspace, OPTIONS).num_stereo == 0
    write_json(workspace.record("sfm"), {"options": {"poses": None}})
    align.run(workspace, align.Options())
    assert merge.run(workspace, merge.Options()).coverage["stereo"] == 0.0
