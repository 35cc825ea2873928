"""Pictures are looked at by people; here: that they show what the data says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depthrf.errors import UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at
from depthrf.io.images import read_rgb, write_png
from depthrf.io.transforms_json import write_transforms
from depthrf.nerf.losses import cdf_depth
from depthrf.nerf.options import LossOptions
from depthrf.nerf.render import Level
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
    content = json.loads(re.search(r"const scene = (.*);\n", page)[1].replace("<\\/", "</"))
    assert content["title"] == "a room"
    assert content["cameras"][0]["name"] == "</script>.png"
    assert content["cameras"][1]["photo"].startswith("data:image/jpeg;base64,")
    assert len(content["points"]["xyz"]) == 50
    with pytest.raises(UsageError):
        scene.load_scene(data / "images")


def test_curves_leave_out_a_row_that_was_cut_off(tmp_path: Path) -> None:
    row = {"step": 5, "seconds": 1.0, "rays_per_second": 900, "psnr": 12.0, "photometric": 0.1, "depth": 0.0}
    path = tmp_path / "nerf" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text(f"{json.dumps(row)}\n{json.dumps(row | {'step': 10})}\n" + '{"step": 1', encoding="utf-8")
    rows = curves.read_metrics(path)
    assert [r["step"] for r in rows] == [5, 10]
    curves.write_png(tmp_path / "curves.png", {"a": rows, "b": rows})
    assert read_rgb(tmp_path / "curves.png").std() > 5
    with pytest.raises(UsageError, match="depthrf train"):
        curves.read_metrics(tmp_path / "absent.jsonl")


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
