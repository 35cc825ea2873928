from __future__ import annotations

import numpy as np
import pytest

from depthrf.depth.merging import Source
from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Camera
from depthrf.io.depth_maps import read_prior, read_sensor_depth, write_map, write_sensor_depth
from depthrf.io.images import write_png
from depthrf.io.sensor_depth import HIGH, MEDIUM
from depthrf.io.transforms_json import intrinsics
from depthrf.stages import align, merge
from depthrf.workspace import Workspace, read_json, write_json
from tests.depth.scene import CAMERA, LENS, depth_along, depth_map, lens_directions, make_workspace, views


def write_sensor(workspace: Workspace, hole: bool = False) -> None:
    """True depth on the distorted photos' grid, at half their resolution."""
    directions = lens_directions(LENS)
    for view in views():
        depth = depth_along(view, directions)[::2, ::2]
        if hole:
            depth[:, : depth.shape[1] // 2] = 0
        write_sensor_depth(workspace.sensor_depth / f"{view.stem}.png", depth)


def prepare(workspace: Workspace, poses: str = "estimated") -> merge.Summary:
    write_json(workspace.record("sfm"), {"summary": {"poses": poses}})
    align.run(workspace, align.Options())
    return merge.run(workspace, merge.Options())


def test_keypoints_alone(tmp_path):
    workspace = make_workspace(tmp_path / "w")
    summary = prepare(workspace)
    assert summary.metres_per_unit is None
    assert summary.num_sensor == 0
    for view in views():
        prior, source = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        assert prior.depth.shape == (CAMERA.height, CAMERA.width)
        has = prior.depth > 0
        assert 50 < has.sum() <= 150
        assert (source[has] == Source.KEYPOINT).all()
        assert (prior.sigma[has] >= 0.004 * prior.depth[has]).all()
        error = np.abs(prior.depth - depth_map(view))[has] / prior.depth[has]
        assert np.median(error) < 0.02


def test_sensor_sets_the_scale_of_a_model_without_one(tmp_path):
    workspace = make_workspace(tmp_path / "w", unit=4.0)
    write_sensor(workspace)
    summary = prepare(workspace)
    assert summary.metres_per_unit == pytest.approx(0.25, rel=0.02)
    assert summary.coverage["sensor"] > 0.85
    for view in views():
        prior, _ = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        has = prior.depth > 0
        assert np.median(np.abs(prior.depth / 4 - depth_map(view))[has]) < 0.03
        reference = merge.load_sensor_depth(workspace, view)
        assert reference is not None
        np.testing.assert_allclose(reference[has], prior.depth[has], rtol=1e-5)


def test_given_poses_keep_their_metres_exactly(tmp_path):
    workspace = make_workspace(tmp_path / "w", unit=1.04)
    write_sensor(workspace)
    assert prepare(workspace, poses="given").metres_per_unit == 1.0


def test_given_poses_in_another_unit_are_rescaled(tmp_path):
    workspace = make_workspace(tmp_path / "w", unit=100.0)
    write_sensor(workspace)
    assert prepare(workspace, poses="given").metres_per_unit == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("kind", ["depth", "inverse_depth"])
def test_composite_of_sensor_with_holes_and_mono(tmp_path, kind):
    workspace = make_workspace(tmp_path / "w")
    write_sensor(workspace, hole=True)
    write_json(workspace.mono_depth / "meta.json", {"kind": kind, "network": "test"})
    for view in views():
        true = depth_map(view)
        y = true if kind == "depth" else 1 / true
        write_map(workspace.mono_depth / f"{view.stem}.npy", (y - 0.05) / 3)
    summary = prepare(workspace)
    assert summary.num_mono == summary.num_sensor == 4
    for view in views():
        prior, source = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        assert set(np.unique(source)) >= {Source.MONO, Source.MERGED}
        relative = np.abs(prior.depth - depth_map(view)) / depth_map(view)
        assert np.median(relative[source == Source.MONO]) < 0.02
        assert np.median(relative[source == Source.MERGED]) < 0.01
        fit = read_json(align.report_path(workspace))["photos"][view.stem]
        assert fit["accepted"]
        assert fit["scale"] == pytest.approx(3, rel=0.1)


def test_sensor_depth_of_another_shape_is_refused(tmp_path):
    workspace = make_workspace(tmp_path / "w")
    write_sensor_depth(workspace.sensor_depth / f"{views()[0].stem}.png", np.ones((100, 40)))
    with pytest.raises(DepthrfError, match="another shape"):
        prepare(workspace)


def test_medium_confidence_doubles_the_doubt(tmp_path):
    workspace = make_workspace(tmp_path / "w")
    write_sensor(workspace)
    prepare(workspace, poses="given")
    stem = views()[0].stem
    sure, source = read_prior(workspace.prior_depth / f"{stem}.npz")
    confidence = np.full(read_sensor_depth(workspace.sensor_depth / f"{stem}.png").shape, MEDIUM, np.uint8)
    confidence[:, confidence.shape[1] // 2 :] = HIGH
    write_png(workspace.sensor_confidence / f"{stem}.png", confidence)
    prepare(workspace, poses="given")
    doubtful, _ = read_prior(workspace.prior_depth / f"{stem}.npz")
    np.testing.assert_array_equal(doubtful.depth, sure.depth)
    factor = doubtful.sigma[source == Source.SENSOR] / sure.sigma[source == Source.SENSOR]
    np.testing.assert_allclose(np.unique(factor.round(4)), [1.0, 2.0])
    left = np.where(source == Source.SENSOR, doubtful.sigma / np.maximum(sure.sigma, 1e-9), 1.0)[:, : CAMERA.width // 3]
    assert (left > 1.5).mean() > 0.5


def test_a_depth_camera_with_its_own_field_of_view(tmp_path):
    workspace = make_workspace(tmp_path / "w")
    own = Camera(90, 80, 110.0, 108.0, 43.0, 41.0)
    for view in views():
        depth = depth_along(view, own.directions(own.pixel_centres()))
        write_sensor_depth(workspace.sensor_depth / f"{view.stem}.png", depth)
    write_json(workspace.sensor_cameras, {view.stem: intrinsics(own) for view in views()})
    prepare(workspace, poses="given")
    for view in views():
        prior, source = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        seen = source == Source.SENSOR
        assert 0.1 < seen.mean() < 0.95
        relative = np.abs(prior.depth - depth_map(view))[seen] / depth_map(view)[seen]
        assert np.median(relative) < 0.005
