"""Lengths in photos taken through a lens with distortion, in a model that is four times too large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.errors import UsageError
from depthrf.geometry.camera import DepthPrior
from depthrf.geometry.distortion import directions_through, project_through
from depthrf.io.depth.depth_maps import read_prior, write_prior
from depthrf.io.depth.reports import SensorUnit
from depthrf.io.depth.scale import ScaleSource, SceneScale, read_scale
from depthrf.io.photos.table import PhotoEntry, write_photos
from depthrf.io.poses.colmap import load_scene
from depthrf.stages import merge
from depthrf.stages.measuring.doubt import spread
from depthrf.stages.measuring.given import Point, parse_distance, parse_length
from depthrf.stages.measuring.measured import Measurement, measure
from depthrf.stages.measuring.photos import open_photos
from depthrf.stages.merging.scale import Known, _of_sensor, decide, settle_scale
from depthrf.stages.merging.sensor_unit import BY_POSES
from depthrf.storage import write_json
from depthrf.workspace import Workspace
from tests.scenes.room import CAMERA, LENS, depth_along, depth_map, make_workspace, views

UNIT = 4.0  # scene units a metre
TWICE = 2  # the model is of photos half as large
NO_SENSOR = SensorUnit(None, "no sensor depth")
POINTS = ((40.0, 60.0), (150.0, 130.0))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The photo of view 0 is called ``IMG 0.HEIC``; photo 3 has no depth at its left side."""
    made = make_workspace(tmp_path / "w", unit=UNIT)
    for i, view in enumerate(views()):
        depth = UNIT * depth_map(view)
        if i == 3:
            depth[:, :30] = 0
        prior = DepthPrior(depth, 0.01 * depth)
        write_prior(made.prior_depth / f"{view.stem}.npz", prior, np.ones(depth.shape, np.uint8))
    size = {"width": TWICE * LENS.width, "height": TWICE * LENS.height}
    named = [
        PhotoEntry("IMG 0.HEIC" if i == 0 else v.name, v.name, "used", **size, orientation=6)
        for i, v in enumerate(views())
    ]
    others = [
        PhotoEntry("late.jpg", None, "held_out"),
        PhotoEntry("dark.jpg", None, "rejected", "too dark"),
        PhotoEntry("lost.jpg", "lost.jpg", "used", **size),
    ]
    write_photos(made.photos, [*named, *others])
    return made


def true_length(photo: int, points: Sequence[Point]) -> float:
    """Metres, by the scene's formulas."""
    view = views()[photo]
    rays = directions_through(LENS, np.array(points) / TWICE)
    first, second = rays * depth_along(view, rays)[:, None]
    return float(np.linalg.norm(second - first))


def known(photo: str, points: Sequence[Point], metres: float) -> str:
    (x1, y1), (x2, y2) = points
    return f"{photo}:{x1},{y1}:{x2},{y2}={metres}m"


def settle(workspace: Workspace, *texts: str, sensor: SensorUnit = NO_SENSOR) -> SceneScale:
    lengths = tuple(parse_length(text) for text in texts if ":" in text)
    distances = tuple(parse_distance(text) for text in texts if ":" not in text)
    return settle_scale(workspace, load_scene(workspace.undistorted_sparse), sensor, Known(lengths, distances))


def test_a_length_is_that_of_the_photo_as_the_user_sees_it(workspace: Workspace) -> None:
    """Through the distorting lens, at twice the model's size; ignoring either is wrong by 3 % or more."""
    found = measure(workspace, "IMG 0", POINTS)
    assert found.unit == "scene units"
    assert found.length / UNIT == pytest.approx(true_length(0, POINTS), rel=0.01)
    pinhole = CAMERA.directions(np.array(POINTS) / TWICE)
    first, second = pinhole * depth_along(views()[0], pinhole)[:, None]
    assert abs(np.linalg.norm(second - first) / true_length(0, POINTS) - 1) > 0.03
    assert 0.007 < found.deviation / found.length < 0.04


def test_a_known_length_makes_metres(workspace: Workspace) -> None:
    write_json(workspace.scale, settle(workspace, known("IMG 0.HEIC", POINTS, true_length(0, POINTS))))
    scale = read_scale(workspace)
    assert scale.metres_per_unit == pytest.approx(1 / UNIT, rel=0.01)
    elsewhere = ((30.0, 100.0), (170.0, 90.0))
    for unit, factor in (("m", 1.0), ("cm", 100.0), ("mm", 1000.0), ("ft", 1 / 0.3048), ("in", 1 / 0.0254)):
        found = measure(workspace, "photo 2.png", elsewhere, unit)
        assert found.length == pytest.approx(factor * true_length(2, elsewhere), rel=0.02)
        assert found.deviation / found.length > (scale.deviation or 1.0) / (1 / UNIT)


def test_several_known_lengths_and_a_distance_combine(workspace: Workspace) -> None:
    apart = float(np.linalg.norm(views()[0].centre - views()[3].centre))
    texts = (
        known("IMG 0.HEIC", POINTS, true_length(0, POINTS)),
        known("photo 1.png", POINTS, true_length(1, POINTS)),
        f"IMG 0.HEIC photo 3.png={apart:.6f}m",
    )
    alone = [settle(workspace, text) for text in texts]
    together = settle(workspace, *texts)
    assert together.metres_per_unit == pytest.approx(1 / UNIT, rel=0.01)
    assert alone[2].metres_per_unit == pytest.approx(1 / UNIT, rel=1e-4)
    assert together.deviation is not None
    assert all(one.deviation is not None and together.deviation < one.deviation for one in alone)
    assert [source.what for source in together.sources] == list(texts)


def test_known_lengths_beside_a_sensor(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """They are averaged where they agree; where not, the user's length decides, and it is said."""
    length = known("IMG 0.HEIC", POINTS, true_length(0, POINTS))
    sensor = SensorUnit(1.004 / UNIT, "keypoints", uncertainty=0.005, num_keypoints=50, num_photos=4)
    agreed = settle(workspace, length, sensor=sensor)
    alone = settle(workspace, length).metres_per_unit
    assert agreed.metres_per_unit is not None
    assert alone is not None
    assert min(alone, 1.004 / UNIT) < agreed.metres_per_unit < max(alone, 1.004 / UNIT)
    assert all(source.used for source in agreed.sources)
    capsys.readouterr()
    clash = settle(workspace, length, sensor=replace(sensor, metres_per_unit=1.3 / UNIT))
    assert clash.metres_per_unit == alone
    assert [source.used for source in clash.sources] == [False, True]
    assert "by sensor depth at 50 keypoints of 4 photos" in " ".join(capsys.readouterr().err.split())


def test_metric_poses_stay_exactly_metric() -> None:
    base = _of_sensor(SensorUnit(1.0, BY_POSES))
    assert base is not None
    assert decide(base, []).metres_per_unit == 1.0


def test_known_lengths_that_contradict_one_another_are_told() -> None:
    scale = decide(None, [ScaleSource("a", 1.0, 0.005), ScaleSource("b", 1.2, 0.005)])
    assert scale.disagreement is not None
    assert "1 m by a, 1.2 m by b" in scale.disagreement
    assert scale.deviation == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("photo", "points", "message"),
    [
        (
            "nowhere.jpg",
            POINTS,
            "No photo is called 'nowhere.jpg'. Photos that can be measured in: IMG 0.HEIC, photo 1",
        ),
        ("late", POINTS, "late.jpg: it is held out"),
        ("dark.jpg", POINTS, r"dark.jpg: it was not used \(too dark\)"),
        ("lost.jpg", POINTS, "lost.jpg: it could not be placed"),
        ("photo 1", ((300.0, 20.0), (9.0, 9.0)), "300,20 lies outside photo 1.png, which is 200 x 152 pixels"),
        ("photo 1", ((-1.0, 20.0), (9.0, 9.0)), "-1,20 lies outside"),
        (
            "photo 3",
            ((30.0, 76.0), (150.0, 70.0)),
            "30,76 of photo 3.png has no depth. The nearest that has is 6[0-9],",
        ),
        ("photo 1", ((0.1, 0.1), (150.0, 70.0)), "0.1,0.1 of photo 1.png lies at the border"),
    ],
)
def test_what_cannot_be_measured(workspace: Workspace, photo: str, points: Sequence[Point], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure(workspace, photo, points)


def test_the_nearest_point_that_is_offered_can_be_measured(workspace: Workspace) -> None:
    with pytest.raises(UsageError) as error:
        measure(workspace, "photo 3", ((30.0, 76.0), (150.0, 70.0)))
    x, y = str(error.value).split("nearest that has is ")[1].split(";")[0].split(",")
    assert measure(workspace, "photo 3", ((float(x), float(y)), (150.0, 70.0))).length > 0


def test_metres_need_a_scale(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="--known-length"):
        measure(workspace, "IMG 0", POINTS, "m")
    with pytest.raises(UsageError, match="--unit should be one of"):
        measure(workspace, "IMG 0", POINTS, "miles")


def test_names_with_spaces_are_told_apart(workspace: Workspace) -> None:
    first, second = open_photos(workspace).pair("IMG 0 photo 2.png")
    assert (first.name, second.name) == ("photo 0.png", "photo 2.png")
    with pytest.raises(UsageError, match="No photo is called"):
        open_photos(workspace).pair("IMG 0 photo 9.png")


def test_another_known_length_changes_the_scale_and_not_the_prior(workspace: Workspace) -> None:
    def state() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in workspace.prior_depth.rglob("*") if path.is_file()}

    merge.run(workspace, merge.Options())
    before = state()
    assert read_scale(workspace) == SceneScale()
    prior, _ = read_prior(workspace.prior_depth / f"{views()[0].stem}.npz")
    rows, columns = np.nonzero(prior.depth)
    at = np.stack([columns[[0, -1]], rows[[0, -1]]], -1) + 0.5
    points = project_through(LENS, CAMERA.directions(at)) * TWICE
    text = known("IMG 0", [tuple(p) for p in points.tolist()], 1.0)
    summary = merge.run(workspace, merge.Options(known_length=(text,)))
    assert summary.metres_per_unit is not None
    assert state() == before


def test_a_measurement_is_written_with_two_digits_of_its_deviation() -> None:
    def text(length: float, deviation: float) -> str:
        return str(Measurement("a", (), length, deviation, "m", 0.0, 0.0))

    assert text(1.20437, 0.0123) == "1.204 ± 0.012 m"
    assert text(1234.5, 45.0) == "1234 ± 45 m"
    assert text(0.5, 0.0) == "0.5 m"


def rewrite(workspace: Workspace, photo: int, change: Callable[[NDArray[np.float32]], None]) -> None:
    path = workspace.prior_depth / f"photo {photo}.npz"
    prior, source = read_prior(path)
    change(prior.depth)
    write_prior(path, DepthPrior(prior.depth, 0.001 * prior.depth), source)


def relative(workspace: Workspace) -> float:
    found = measure(workspace, "IMG 0", POINTS)
    return found.deviation / found.length


def test_a_wrong_surface_that_other_photos_look_through_is_doubted(workspace: Workspace) -> None:
    """However sure the photo itself is of it."""
    for photo in range(4):
        rewrite(workspace, photo, lambda depth: None)
    right, sure = measure(workspace, "IMG 0", POINTS), relative(workspace)
    rewrite(workspace, 0, lambda depth: np.multiply(depth, 0.7, out=depth))
    wrong = measure(workspace, "IMG 0", POINTS)
    assert abs(wrong.length - right.length) < 2.0 * wrong.deviation
    assert relative(workspace) > 5.0 * sure


def test_depth_beside_an_edge_is_doubted(workspace: Workspace) -> None:
    """A point a pixel off would be on the other surface."""
    for photo in range(4):
        rewrite(workspace, photo, lambda depth: None)
    sure = relative(workspace)

    def edge(depth: NDArray[np.float32]) -> None:
        depth[: int(POINTS[0][1] / TWICE) - 1] *= np.float32(1.1)

    rewrite(workspace, 0, edge)
    assert relative(workspace) > 1.5 * sure


def test_photos_that_disagree_a_little_widen_the_deviation() -> None:
    assert spread(np.array([0.03, -0.03])) == pytest.approx(0.03)
    assert spread(np.array([0.0, 0.5])) == pytest.approx(0.5)  # one agrees, one looks through
    assert spread(np.array([0.0, 0.01, 0.5])) == pytest.approx(np.sqrt(0.5e-4))
    assert spread(np.array([-0.5])) == spread(np.array([])) > 0  # hidden by something before it: nothing is known
