"""Pictures are looked at by people; here: that they show what the data says."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at
from depthrf.io.photos.images import read_rgb, write_png
from depthrf.io.poses.transforms_json import write_transforms
from depthrf.nerf.options import LossOptions
from depthrf.nerf.rays.compositing import Level
from depthrf.nerf.training.losses import cdf_depth
from depthrf.plot import curves, poses, ray, scene

UP = np.array([0.0, 0.0, 1.0])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three cameras at the height 1, one of them held out, and photos of two."""
    camera = Camera(64, 48, 60.0, 60.0, 32.0, 24.0)
    views = [View(f"{i}.png", camera, look_at(np.array([i - 1.0, -3.0, 1.0]), np.zeros(3), UP)) for i in range(3)]
    write_transforms(tmp_path / "transforms.json", views, image_folder="images", test_names=["2.png"])
    for index in range(2):
        write_png(tmp_path / "images" / f"{index}.png", np.full((48, 64, 3), 80 * (index + 1), dtype=np.uint8))
    return tmp_path


def test_frusta_stand_where_the_cameras_do_and_look_where_they_look(data: Path) -> None:
    found = scene.load_scene(data / "transforms.json")
    names = [f.name for f in found.frusta]
    assert [Path(n).name for n in names] == ["0.png", "1.png", "2.png"]
    assert [f.held_out for f in found.frusta] == [False, False, True]
    assert [f.photo is not None for f in found.frusta] == [True, True, False]
    centres = np.stack([f.centre for f in found.frusta])
    np.testing.assert_allclose(np.linalg.norm(np.diff(centres, axis=0), axis=1), 1.0)
    for frustum in found.frusta:
        forward = frustum.corners.mean(0) - frustum.centre
        to_origin = -frustum.centre
        cosine = forward @ to_origin / np.linalg.norm(forward) / np.linalg.norm(to_origin)
        assert cosine == pytest.approx(1.0)
        top, bottom = frustum.corners[:2].mean(0), frustum.corners[2:].mean(0)
        assert top[2] > bottom[2]


def test_poses_as_pictures(data: Path) -> None:
    found = scene.load_scene(data / "transforms.json")
    points = np.random.default_rng(0).normal(size=(50, 3))
    found = replace(found, points=points, colors=np.zeros((50, 3), np.uint8))
    poses.write_png(data / "poses.png", found)
    assert read_rgb(data / "poses.png").std() > 5
    named = replace(found, frusta=[replace(found.frusta[0], name="</script>.png"), *found.frusta[1:]])
    poses.write_html(data / "poses.html", named, "a room")
    page = (data / "poses.html").read_text(encoding="utf-8")
    assert page.count("</script>") == 1
    assert "http" not in page
    content = json.loads(re.search(r"const scene = (.*);\n", page)[1])
    assert content["title"] == "a room"
    assert content["cameras"][0]["name"] == "</script>.png"
    assert content["cameras"][1]["photo"].startswith("data:image/jpeg;base64,")
    assert len(content["points"]["xyz"]) == 50
    with pytest.raises(UsageError):
        scene.load_scene(data / "images")


def test_no_picture_from_outside_the_data_set_is_embedded(data: Path) -> None:
    """A page of somebody's data set is passed on."""
    private = data.parent / "private.png"
    write_png(private, np.zeros((20, 30, 3), np.uint8))
    content = json.loads((data / "transforms.json").read_text())
    for name in ("../private.png", str(private), "images/../../private.png"):
        content["frames"][0]["file_path"] = name
        (data / "transforms.json").write_text(json.dumps(content))
        assert [f.photo is not None for f in scene.load_scene(data / "transforms.json").frusta] == [False, True, False]


def test_curves_leave_out_a_row_that_was_cut_off(tmp_path: Path) -> None:
    row = {"step": 5, "seconds": 1.0, "rays_per_second": 900, "psnr": 12.0, "photometric": 0.1, "depth": 0.0}
    path = tmp_path / "nerf" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text(f"{json.dumps(row)}\n{json.dumps(row | {'step': 10})}\n" + '{"step": 1', encoding="utf-8")
    assert [r["step"] for r in curves.read_metrics(path)] == [5, 10]
    with pytest.raises(UsageError, match="depthrf train"):
        curves.read_metrics(tmp_path / "absent.jsonl")


_GOOD = b'{"step": 1, "seconds": 1, "rays_per_second": 2, "psnr": 3, "loss": 1}'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"\xff\xfe", "Expecting value"),
        (b"[" * 100_000, "nested|recursion"),
        (b"[1, 2]", "expected an object of numbers"),
        (b"7", "expected an object of numbers"),
        (_GOOD.replace(b"1", b'"1"'), "expected an object of numbers"),
        (_GOOD.replace(b"psnr", b"psn"), "it lacks psnr"),
        (b'{"step": 1}', "it lacks seconds"),
        (b"9" * 5000, "digits"),
    ],
)
def test_damaged_measurements_are_told_with_their_line(tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "nerf" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_bytes(_GOOD + b"\n" + line + b"\n" + _GOOD)
    with pytest.raises(DepthrfError, match=f"line 2 is damaged .*({words})") as told:
        curves.read_metrics(path)
    assert len(str(told.value)) < 300 + len(str(path))


@pytest.mark.parametrize("value", [b"null", b"1e999", b"-Infinity", b"NaN", b"9" * 400])
def test_measurements_that_are_not_finite_leave_a_gap(tmp_path: Path, value: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(_GOOD + b"\n" + _GOOD.replace(b"3", value).replace(b"2", value))
    rows = curves.read_metrics(path)
    assert np.isnan(rows[1]["psnr"])
    quality, *_ = curves.draw({"a": rows}).axes
    np.testing.assert_array_equal(quality.lines[0].get_ydata(), [3.0, np.nan])


def test_a_pipe_for_measurements_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(UsageError):
        curves.read_metrics(tmp_path / "metrics.jsonl")


def test_curves_draw_what_was_measured(tmp_path: Path) -> None:
    """Every point of PSNR and of speed; of losses, those that a logarithmic axis can show."""
    first = {"step": 5, "seconds": 1.0, "rays_per_second": 900, "psnr": 12.0, "photometric": 0.1, "depth": 0.0}
    last = first | {"step": 10, "rays_per_second": 1800, "psnr": 15.0, "photometric": 0.05, "depth": 0.2}
    quality, speed, losses, others = curves.draw({"a": [first, last], "b": [last]}).axes
    assert [line.get_label() for line in quality.lines] == ["a", "b"]
    np.testing.assert_allclose(quality.lines[0].get_xydata(), [[5, 12.0], [10, 15.0]])
    np.testing.assert_allclose(speed.lines[0].get_xydata(), [[5, 0.9], [10, 1.8]])
    assert speed.get_title() == "speed since the previous point"  # metrics.jsonl has the rate of each interval
    drawn = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert drawn == {"photometric": [[5, 0.1], [10, 0.05]], "depth": [[10, 0.2]]}
    assert losses.get_title() == "losses of a"
    assert len(others.lines) == 2
    curves.write_png(tmp_path / "curves.png", {"a": [first, last]})
    assert read_rgb(tmp_path / "curves.png").shape == (420, 1500, 3)


def test_the_drawn_bounds_are_those_of_the_loss(tmp_path: Path) -> None:
    """Penalties of the drawn gaps at the sampled edges add up to the loss of this ray."""
    edges = np.linspace(1.0, 3.0, 41)
    weights = np.random.default_rng(0).uniform(0.0, 0.04, 40)
    options = LossOptions(surface=0.02, cdf_slack=2.0, cdf_empty=0.7, cdf_bound=0.3)
    photo = np.zeros((8, 8, 3), np.uint8)
    found = ray.RayBound("a.png", (4.0, 4.0), edges, weights, 2.0, 0.05, options, photo)
    upper, lower, empty = found.bounds(edges[1:])
    total = np.cumsum(weights)
    before = edges[1:] < 2.0
    early, late = np.maximum(total - upper, 0)[before & ~empty] ** 2, np.maximum(lower - total, 0)[~before] ** 2
    expected = 0.7 * (weights[empty] ** 2).mean() + 0.3 * (early.mean() + late.mean())
    level = Level(*(torch.from_numpy(a)[None] for a in (edges, edges, weights)))
    loss = cdf_depth(level, torch.tensor([2.0]).double(), torch.tensor([0.05]).double(), options)
    assert float(loss) == pytest.approx(expected)
    ray.write_png(tmp_path / "ray.png", found)
    ray.write_png(tmp_path / "without.png", replace(found, depth=0.0, sigma=0.0))
    assert read_rgb(tmp_path / "ray.png").std() > 5
