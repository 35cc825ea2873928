from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from depthrf.depth.merging import Source
from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Camera, DepthPrior
from depthrf.io.depth_maps import read_prior, read_sensor_depth, write_map, write_prior, write_sensor_depth
from depthrf.io.images import read_rgb, write_png
from depthrf.io.masks import mask_path
from depthrf.io.sensor_depth import HIGH, MEDIUM
from depthrf.io.transforms_json import intrinsics
from depthrf.stages import align, merge
from depthrf.stages.sensor import load_sensor_depth
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


def report(workspace: Workspace) -> dict[str, Any]:
    return read_json(merge.report_path(workspace))["photos"]


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
        reference = load_sensor_depth(workspace, view)
        assert reference is not None
        np.testing.assert_allclose(reference[has], prior.depth[has], rtol=1e-5)


def test_given_poses_keep_their_metres_exactly(tmp_path):
    workspace = make_workspace(tmp_path / "w", unit=1.04)
    write_sensor(workspace)
    assert prepare(workspace, poses="given").metres_per_unit == 1.0


@pytest.mark.parametrize(("poses", "unit"), [("refined", 1.0), ("estimated", None)])
def test_refined_poses_keep_their_metres_where_keypoints_tell_no_scale(tmp_path, poses, unit):
    workspace = make_workspace(tmp_path / "w", num_points=2)
    write_sensor(workspace)
    assert prepare(workspace, poses=poses).metres_per_unit == unit


def test_refined_poses_are_measured_by_the_sensor_where_keypoints_tell(tmp_path):
    workspace = make_workspace(tmp_path / "w", unit=1.04)
    write_sensor(workspace)
    assert prepare(workspace, poses="refined").metres_per_unit == pytest.approx(1 / 1.04, rel=0.01)


def test_given_poses_in_another_unit_are_rescaled(tmp_path):
    workspace = make_workspace(tmp_path / "w", unit=100.0)
    write_sensor(workspace)
    assert prepare(workspace, poses="given").metres_per_unit == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("kind", ["depth", "inverse_depth"])
def test_composite_of_sensor_with_holes_and_mono(tmp_path, kind):
    workspace = make_workspace(tmp_path / "w")
    write_sensor(workspace, hole=True)
    write_mono(workspace, kind)
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


def write_mono(workspace: Workspace, kind: str = "depth", stems: set[str] | None = None) -> None:
    write_json(workspace.mono_depth / "meta.json", {"kind": kind, "network": "test"})
    for view in views():
        if stems is None or view.stem in stems:
            true = depth_map(view)
            y = true if kind == "depth" else 1 / true
            write_map(workspace.mono_depth / f"{view.stem}.npy", (y - 0.05) / 3)


def test_mono_alone(tmp_path):
    workspace = make_workspace(tmp_path / "w")
    write_mono(workspace)
    summary = prepare(workspace)
    assert (summary.num_mono, summary.num_sensor, summary.metres_per_unit) == (4, 0, None)
    for view in views():
        prior, source = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        assert (source == Source.MONO).mean() > 0.9
        assert np.median(np.abs(prior.depth / depth_map(view) - 1)) < 0.03
        assert report(workspace)[view.stem]["mono_fitted_to"] == "keypoints"


def test_each_photo_takes_what_it_has(tmp_path):
    workspace = make_workspace(tmp_path / "w")
    names = [view.stem for view in views()]
    write_sensor(workspace, hole=True)
    write_mono(workspace, stems={names[0], names[1]})
    for stem in names[1], names[3]:
        (workspace.sensor_depth / f"{stem}.png").unlink()
    prepare(workspace)
    found = {stem: (row["sensor"], row["mono"], row["mono_fitted_to"]) for stem, row in report(workspace).items()}
    assert found == {
        names[0]: (True, True, "sensor"),
        names[1]: (False, True, "keypoints"),
        names[2]: (True, False, None),
        names[3]: (False, False, None),
    }
    for i, expected in enumerate(({Source.MONO}, {Source.MONO}, {Source.SENSOR}, {Source.KEYPOINT})):
        prior, source = read_prior(workspace.prior_depth / f"{names[i]}.npz")
        assert expected <= set(np.unique(source))
        known = prior.depth > 0
        assert np.median(np.abs(prior.depth / depth_map(views()[i]) - 1)[known]) < 0.03


def test_a_photo_that_keypoints_cannot_place_is_placed_by_the_sensor(tmp_path):
    """Too few keypoints anywhere for ``align``, given poses for the scale: the sensor's half places the other half."""
    workspace = make_workspace(tmp_path / "w", num_points=6)
    write_sensor(workspace, hole=True)
    write_mono(workspace, kind="inverse_depth")
    summary = prepare(workspace, poses="given")
    assert not list(workspace.aligned_depth.glob("*.npy"))
    assert summary.num_mono == 4
    for view in views():
        prior, source = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        assert (source == Source.MONO).mean() > 0.3
        assert np.median(np.abs(prior.depth / depth_map(view) - 1)[source == Source.MONO]) < 0.02


def test_sensor_depth_of_another_place_is_left_out(tmp_path, capsys):
    workspace = make_workspace(tmp_path / "w")
    write_sensor(workspace)
    stem = views()[2].stem
    true = depth_along(views()[2], lens_directions(LENS))
    write_sensor_depth(workspace.sensor_depth / f"{stem}.png", 2.0 * true)
    assert prepare(workspace).metres_per_unit == pytest.approx(1.0, rel=0.02)
    assert stem in capsys.readouterr().err
    assert not report(workspace)[stem]["sensor"]
    assert all(row["sensor"] for name, row in report(workspace).items() if name != stem)


def test_the_report_tells_how_sure_the_scale_is(tmp_path):
    workspace = make_workspace(tmp_path / "w", unit=4.0)
    write_sensor(workspace)
    prepare(workspace)
    scale = read_json(merge.report_path(workspace))["scale"]["estimate"]
    assert abs(scale["metres_per_unit"] - 0.25) < 3 * 0.25 * scale["uncertainty"]
    assert scale["uncertainty"] < 0.01


def test_overlays_show_each_photo(tmp_path):
    workspace = make_workspace(tmp_path / "w")
    write_sensor(workspace, hole=True)
    prepare(workspace)
    pictures = sorted((workspace.prior_depth / "overlays").iterdir())
    assert [p.stem for p in pictures] == sorted(view.stem for view in views())
    for picture in pictures:
        height, width, _ = read_rgb(picture).shape
        assert 400 < height < 1000
        assert 800 < width < 1000


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


@pytest.mark.parametrize("fill", [True, False])
def test_holes_of_stereo_are_filled_outside_masks(tmp_path, fill):
    workspace = make_workspace(tmp_path / "w")
    for view in views():
        depth = depth_map(view)
        depth[24:48, 30:66] = 0.0
        source = np.where(depth > 0, Source.STEREO, Source.NONE).astype(np.uint8)
        write_prior(workspace.stereo_depth / f"{view.stem}.npz", DepthPrior(depth, np.float32(0.003) * depth), source)
        write_png(workspace.undistorted_images / view.name, np.full((CAMERA.height, CAMERA.width, 3), 120, np.uint8))
    first = views()[0]
    mask = np.full((CAMERA.height, CAMERA.width), 255, np.uint8)
    mask[:, :40] = 0
    write_png(mask_path(workspace.undistorted_masks, first.name), mask)
    write_json(workspace.record("sfm"), {"summary": {"poses": "estimated"}})
    align.run(workspace, align.Options())
    summary = merge.run(workspace, merge.Options(fill=fill))
    assert (summary.coverage["filled"] > 0.05) == fill
    for view in views():
        prior, source = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        filled = source == Source.FILLED
        assert filled.any() == fill
        assert ((prior.depth > 0) == (source != Source.NONE)).all()
        relative = np.abs(prior.depth - depth_map(view))[filled] / depth_map(view)[filled]
        assert not filled.any() or np.median(relative) < 0.03
        assert view.stem != first.stem or not (source[:, :38] != Source.NONE).any()
