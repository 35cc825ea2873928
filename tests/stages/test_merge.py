from __future__ import annotations

import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from depthrf.depth import completion, voting
from depthrf.depth.aligning import joint
from depthrf.depth.merging import Source
from depthrf.depth.stereo import neighbours
from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Camera, DepthPrior
from depthrf.io.depth.depth_maps import read_prior, read_sensor_depth, write_map, write_prior, write_sensor_depth
from depthrf.io.depth.sensor_depth import HIGH, MEDIUM
from depthrf.io.depth.sensor_maps import MetresByStem, load_sensor_depth, open_sensor_maps
from depthrf.io.masks import mask_path
from depthrf.io.photos.images import read_rgb, write_png
from depthrf.io.poses.origin import PoseOrigin, write_pose_origin
from depthrf.io.poses.transforms_json import intrinsics
from depthrf.stages import align, merge, sfm
from depthrf.storage import read_json, write_json
from depthrf.workspace import Workspace
from tests.scenes.room import CAMERA, LENS, depth_along, depth_map, lens_directions, make_workspace, views


def write_sensor(workspace: Workspace, hole: bool = False) -> None:
    """True depth on the distorted photos' grid, at half their resolution."""
    directions = lens_directions(LENS)
    for view in views():
        depth = depth_along(view, directions)[::2, ::2]
        if hole:
            depth[:, : depth.shape[1] // 2] = 0
        write_sensor_depth(workspace.sensor_depth / f"{view.stem}.png", depth)


def prepare(workspace: Workspace, poses: PoseOrigin = "estimated") -> merge.Summary:
    write_pose_origin(workspace.pose_origin, poses)
    align.run(workspace, align.Options())
    return merge.run(workspace, merge.Options())


def report(workspace: Workspace) -> dict[str, Any]:
    photos: dict[str, Any] = read_json(workspace.prior_report)["photos"]
    return photos


def test_keypoints_alone(tmp_path: Path) -> None:
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


def test_sensor_sets_the_scale_of_a_model_without_one(tmp_path: Path) -> None:
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


def test_given_poses_keep_their_metres_exactly(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", unit=1.04)
    write_sensor(workspace)
    assert prepare(workspace, poses="given").metres_per_unit == 1.0


@pytest.mark.parametrize(("poses", "unit"), [("refined", 1.0), ("estimated", None)])
def test_refined_poses_keep_their_metres_where_keypoints_tell_no_scale(
    tmp_path: Path, poses: PoseOrigin, unit: float | None
) -> None:
    workspace = make_workspace(tmp_path / "w", num_points=2)
    write_sensor(workspace)
    assert prepare(workspace, poses=poses).metres_per_unit == unit


def test_refined_poses_are_measured_by_the_sensor_where_keypoints_tell(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", unit=1.04)
    write_sensor(workspace)
    assert prepare(workspace, poses="refined").metres_per_unit == pytest.approx(1 / 1.04, rel=0.01)


def test_given_poses_in_another_unit_are_rescaled(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", unit=100.0)
    write_sensor(workspace)
    assert prepare(workspace, poses="given").metres_per_unit == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("kind", ["depth", "inverse_depth"])
def test_composite_of_sensor_with_holes_and_mono(tmp_path: Path, kind: str) -> None:
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
        fit = read_json(workspace.aligned_report)["photos"][view.stem]
        assert fit["accepted"]
        assert fit["scale"] == pytest.approx(3, rel=0.1)


def write_mono(workspace: Workspace, kind: str = "depth", stems: set[str] | None = None) -> None:
    write_json(workspace.mono_meta, {"kind": kind, "network": "test"})
    for view in views():
        if stems is None or view.stem in stems:
            true = depth_map(view)
            y = true if kind == "depth" else 1 / true
            write_map(workspace.mono_depth / f"{view.stem}.npy", (y - 0.05) / 3)


def test_mono_alone(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    write_mono(workspace)
    summary = prepare(workspace)
    assert (summary.num_mono, summary.num_sensor, summary.metres_per_unit) == (4, 0, None)
    for view in views():
        prior, source = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        assert (source == Source.MONO).mean() > 0.9
        assert np.median(np.abs(prior.depth / depth_map(view) - 1)) < 0.03
        assert report(workspace)[view.stem]["mono_fitted_to"] == "keypoints"


def test_each_photo_takes_what_it_has(tmp_path: Path) -> None:
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


def test_a_photo_that_keypoints_cannot_place_is_placed_by_the_sensor(tmp_path: Path) -> None:
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


def test_sensor_depth_of_another_place_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = make_workspace(tmp_path / "w")
    write_sensor(workspace)
    stem = views()[2].stem
    true = depth_along(views()[2], lens_directions(LENS))
    write_sensor_depth(workspace.sensor_depth / f"{stem}.png", 2.0 * true)
    assert prepare(workspace).metres_per_unit == pytest.approx(1.0, rel=0.02)
    assert stem in capsys.readouterr().err
    assert not report(workspace)[stem]["sensor"]
    assert all(row["sensor"] for name, row in report(workspace).items() if name != stem)


def write_constant(workspace: Workspace, stem: str) -> None:
    """A sensor map of one value everywhere, as placeholders and broken exports are."""
    write_sensor_depth(workspace.sensor_depth / f"{stem}.png", np.full((LENS.height, LENS.width), 2.5))


def test_sensor_depth_of_one_value_everywhere_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace, stem = make_workspace(tmp_path / "w"), views()[2].stem
    write_sensor(workspace)
    write_constant(workspace, stem)
    assert prepare(workspace).metres_per_unit == pytest.approx(1.0, rel=0.02)
    assert stem in capsys.readouterr().err
    assert [name for name, row in report(workspace).items() if not row["sensor"]] == [stem]


@pytest.mark.parametrize("poses", ["estimated", "given"])
def test_where_all_sensor_depth_is_one_value_it_is_not_used(
    tmp_path: Path, poses: PoseOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = make_workspace(tmp_path / "w")
    for view in views():
        write_constant(workspace, view.stem)
    summary = prepare(workspace, poses)
    assert (summary.num_sensor, summary.metres_per_unit) == (0, None)
    assert "does not follow the scene" in " ".join(capsys.readouterr().err.split())
    assert load_sensor_depth(workspace, views()[0]) is None  # nor is it a reference to score depth against


def test_sensor_depth_in_another_unit_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Maps in 1/5000 m read as millimetres are five times too far; what lies beyond 10 m is not used, and said."""
    workspace = make_workspace(tmp_path / "w")
    directions = lens_directions(LENS)
    for view in views():
        write_sensor_depth(workspace.sensor_depth / f"{view.stem}.png", 5.0 * depth_along(view, directions))
    prepare(workspace)
    said = " ".join(capsys.readouterr().err.split())
    assert "% of it lies beyond 10 m" in said
    assert "--depth-unit 0.0002, 1/5000 m, as TUM RGB-D has them" in said


def test_sensor_depth_of_a_room_is_used_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = make_workspace(tmp_path / "w")
    write_sensor(workspace)
    prepare(workspace)
    assert "cut" not in capsys.readouterr().err


def test_the_report_tells_how_sure_the_scale_is(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", unit=4.0)
    write_sensor(workspace)
    prepare(workspace)
    scale = read_json(workspace.prior_report)["sensor"]
    assert abs(scale["estimated"] - 0.25) < 3 * 0.25 * scale["uncertainty"]
    assert scale["uncertainty"] < 0.01


def test_overlays_show_each_photo(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    write_sensor(workspace, hole=True)
    prepare(workspace)
    pictures = sorted((workspace.prior_depth / "overlays").iterdir())
    assert [p.stem for p in pictures] == sorted(view.stem for view in views())
    for picture in pictures:
        height, width, _ = read_rgb(picture).shape
        assert 400 < height < 1000
        assert 800 < width < 1000


def test_sensor_depth_of_another_shape_is_refused(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    write_sensor_depth(workspace.sensor_depth / f"{views()[0].stem}.png", np.ones((100, 40)))
    with pytest.raises(DepthrfError, match="another shape"):
        prepare(workspace)


def test_medium_confidence_doubles_the_doubt(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    write_sensor(workspace)
    prepare(workspace, poses="given")
    stem = views()[0].stem
    sure, source = read_prior(workspace.prior_depth / f"{stem}.npz")
    confidence = np.full_like(read_sensor_depth(workspace.sensor_depth / f"{stem}.png"), MEDIUM, dtype=np.uint8)
    confidence[:, confidence.shape[1] // 2 :] = HIGH
    write_png(workspace.sensor_confidence / f"{stem}.png", confidence)
    prepare(workspace, poses="given")
    doubtful, _ = read_prior(workspace.prior_depth / f"{stem}.npz")
    np.testing.assert_array_equal(doubtful.depth, sure.depth)
    factor = doubtful.sigma[source == Source.SENSOR] / sure.sigma[source == Source.SENSOR]
    np.testing.assert_allclose(np.unique(factor.round(4)), [1.0, 2.0])
    left = np.where(source == Source.SENSOR, doubtful.sigma / np.maximum(sure.sigma, 1e-9), 1.0)[:, : CAMERA.width // 3]
    assert (left > 1.5).mean() > 0.5


def test_a_depth_camera_with_its_own_field_of_view(tmp_path: Path) -> None:
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
def test_holes_of_stereo_are_filled_outside_masks(tmp_path: Path, fill: bool) -> None:
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
    write_pose_origin(workspace.pose_origin, "estimated")
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


def write_stereo(workspace: Workspace) -> None:
    """Right on the left half of each photo, and too far by a third on most of the right one."""
    for view in views():
        depth = depth_map(view)
        depth[:, 48:] *= 1.33
        depth[24:48, 60:] = 0.0
        source = np.where(depth > 0, Source.STEREO, Source.NONE).astype(np.uint8)
        write_prior(workspace.stereo_depth / f"{view.stem}.npz", DepthPrior(depth, np.float32(0.003) * depth), source)


@pytest.mark.parametrize(("bound", "mono"), [(2, True), (2, False), (3, True), (3, False)])
def test_each_photo_is_compared_with_a_bounded_number_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int, mono: bool
) -> None:
    workspace = make_workspace(tmp_path / "w")
    write_stereo(workspace)
    if mono:
        write_mono(workspace)
    compared: dict[str, list[int]] = {"confirmed": [], "fill_holes": [], "log_ratio": []}

    def counted(module: ModuleType, name: str) -> None:
        work = getattr(module, name)

        def count(*args: Any) -> Any:
            compared[name].append(len(args[-1]) if isinstance(args[-1], list) else 1)
            return work(*args)

        monkeypatch.setattr(module, name, count)

    counted(voting, "confirmed")
    counted(completion, "fill_holes")
    counted(joint, "log_ratio")
    monkeypatch.setattr(neighbours, "MOST_COMPARED", bound)
    prepare(workspace)
    assert compared["confirmed"] == [bound] * 4 * mono
    assert compared["fill_holes"] == [bound] * 4 * (not mono)
    assert sum(compared["log_ratio"]) == 4 * bound * mono


def test_where_the_poses_come_from_is_an_input(tmp_path: Path) -> None:
    """Given poses are taken as metric, so other poses make the prior stale, and sfm writes the file."""
    workspace = make_workspace(tmp_path / "w")
    assert workspace.pose_origin in merge.inputs(workspace, merge.Options())
    assert workspace.pose_origin in sfm.outputs(workspace, sfm.Options())


def test_sensor_depth_of_many_photos_is_not_held_at_once(tmp_path: Path) -> None:
    """Not even those of all four: a map goes when the next one is read."""
    workspace = make_workspace(tmp_path / "w")
    write_sensor(workspace)
    (workspace.sensor_depth / f"{views()[3].stem}.png").unlink()
    metres = MetresByStem(open_sensor_maps(workspace), views(), 10.0)
    assert list(metres) == [view.stem for view in views()[:3]]
    assert views()[3].stem not in metres
    assert metres.get(views()[3].stem) is None
    alive = [weakref.ref(found) for found in metres.values()]
    assert sum(ref() is not None for ref in alive) <= 1
