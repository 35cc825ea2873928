"""Alignment from files to files: analytic depth as a network would give it, keypoints of a COLMAP model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthrf.io.depth.depth_maps import read_map, write_map
from depthrf.io.photos.images import read_rgb, write_png
from depthrf.stages import align
from depthrf.storage import read_json, write_json
from depthrf.workspace import Workspace
from tests.scenes.room import CAMERA, depth_map, make_workspace, views

FEW = "photo 2"


def prepare(root: Path, kind: str, *, declared: str = "unknown", few: int | None = None) -> Workspace:
    """Four photos, each with its own scale, shift and bend; ``few``: keypoints that one of them keeps."""
    workspace = make_workspace(root)
    rng = np.random.default_rng(1)
    centres = CAMERA.pixel_centres() / CAMERA.width
    for view in views():
        depth = depth_map(view) * (1.0 + 0.06 * np.sin(4.0 * centres[..., 0] + rng.uniform(0.0, 6.0)))
        y = depth if kind == "depth" else 1.0 / depth
        prediction = (y - rng.uniform(-0.2, 0.2)) / rng.uniform(0.5, 4.0)
        prediction[:3] = np.nan  # saturated
        write_map(workspace.mono_depth / f"{view.stem}.npy", prediction)
        write_png(workspace.undistorted_images / view.name, np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8))
    write_json(workspace.mono_meta, {"kind": declared, "network": "test"})
    if few is not None:
        keep_keypoints(workspace.undistorted_sparse / "images.txt", few)
    return workspace


def keep_keypoints(images: Path, number: int) -> None:
    lines = images.read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith(f"{FEW}.png")) + 1
    triples = np.array(lines[at].split()).reshape(-1, 3)
    lost = np.flatnonzero(triples[:, 2] != "-1")[number:]
    triples[lost, 2] = "-1"
    lines[at] = " ".join(triples.ravel())
    images.write_text("\n".join(lines) + "\n", encoding="utf-8")


def error(workspace: Workspace, stem: str) -> float:
    """Median relative error where there is depth."""
    view = next(v for v in views() if v.stem == stem)
    found, true = read_map(workspace.aligned_depth / f"{stem}.npy"), depth_map(view)
    known = found > 0
    assert known[3:].mean() > 0.95
    assert not known[:3].any()
    return float(np.median(np.abs(found - true)[known] / true[known]))


@pytest.mark.parametrize("kind", ["depth", "inverse_depth"])
def test_every_photo_gets_depth_sigma_grade_and_picture(tmp_path: Path, kind: str) -> None:
    workspace = prepare(tmp_path / "w", kind, declared=kind)
    summary = align.run(workspace, align.Options())
    assert (summary.num_accepted, summary.num_refused) == (4, 0)
    report = read_json(workspace.aligned_report)
    assert report["kind"] == kind
    for view in views():
        assert error(workspace, view.stem) < 0.012
        row = report["photos"][view.stem]
        assert row["grade"] in "AB"
        assert row["correction"]["deviation"] > 0
        depth = read_map(workspace.aligned_depth / f"{view.stem}.npy")
        sigma = read_map(align.sigma_path(workspace, view.stem))
        assert ((sigma > 0) == (depth > 0)).all()
        assert read_rgb(align.overlay_path(workspace, view.stem)).shape[1] > 800


@pytest.mark.parametrize("kind", ["depth", "inverse_depth"])
def test_unknown_kind_is_found(tmp_path: Path, kind: str) -> None:
    workspace = prepare(tmp_path / "w", kind)
    align.run(workspace, align.Options())
    assert read_json(workspace.aligned_report)["kind"] == kind


def test_a_photo_with_few_keypoints_borrows(tmp_path: Path) -> None:
    workspace = prepare(tmp_path / "w", "inverse_depth", declared="inverse_depth", few=5)
    summary = align.run(workspace, align.Options())
    assert summary.grades["D"] == 1
    row = read_json(workspace.aligned_report)["photos"][FEW]
    assert row["grade"] == "D"
    assert row["num_used"] <= 5
    assert row["num_borrowed"] > 30
    assert error(workspace, FEW) < 0.03


def test_a_map_that_has_nothing_to_do_with_the_photo_is_refused_with_a_reason(tmp_path: Path) -> None:
    workspace = prepare(tmp_path / "w", "depth", declared="depth")
    noise = np.random.default_rng(2).uniform(0.0, 1.0, (CAMERA.height, CAMERA.width))
    write_map(workspace.mono_depth / f"{FEW}.npy", noise)
    summary = align.run(workspace, align.Options())
    assert (summary.num_accepted, summary.num_refused) == (3, 1)
    row = read_json(workspace.aligned_report)["photos"][FEW]
    assert (row["grade"], row["accepted"]) == ("F", False)
    assert row["reason"]
    assert not (workspace.aligned_depth / f"{FEW}.npy").exists()
    assert align.overlay_path(workspace, FEW).is_file()


def test_without_maps_nothing_is_aligned(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    assert align.run(workspace, align.Options()).num_photos == 0
    assert read_json(workspace.aligned_report) == {"kind": None, "photos": {}}
