"""What each benchmark writes becomes rows that fit the project's own tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import intake, results

ORIGIN = {"commit": "abc", "date": "2026-01-01", "hardware": "a machine"}


def written(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of the project's tables, so that rows are checked against their columns and nothing is changed."""
    shutil.copytree(results.RESULTS, tmp_path / "results")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "HISTORY", tmp_path / "history")
    monkeypatch.setattr(results, "PAGE", tmp_path / "RESULTS.md")


def take_in(monkeypatch: pytest.MonkeyPatch, benchmark: str, path: Path) -> list[dict[str, Any]]:
    """Runs the command; the rows of the table afterwards."""
    monkeypatch.setattr("sys.argv", ["intake", benchmark, str(path)])
    intake.main()
    table = results.read(results.RESULTS / f"{intake.INTAKES[benchmark][0]}.json")
    assert results.PAGE.read_text(encoding="utf-8") == results.page()
    rows: list[dict[str, Any]] = [row["values"] for row in table["rows"]]
    return rows


def test_exports_with_and_without_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = {"wall_seconds": 9.0, "cpu_seconds": 3.4, "megabytes": 1.26, "count": 12, "of": "things"}
    run: dict[str, Any] = {
        "set": "room",
        "costs": dict.fromkeys(("mesh", "splats", "points"), cost),
        "splats": {"views": 4, "psnr": 24.386, "psnr_covered": 25.0, "covered": 0.9958, "field": None},
    }
    rows = take_in(monkeypatch, "exports", written(tmp_path / "plain.json", run))
    row = next(row for row in rows if row["set"] == "room")
    assert (row["PSNR of splats"], row["splats"]) == ("24.39", "12, 99.6% of the pixels")
    assert "depth error, median / 90th percentile" not in row
    run["mesh"] = {"median": 0.00207, "percentile_90": 0.0145, "complete": 0.899, "covered": 0.98, "views": 24}
    rows = take_in(monkeypatch, "exports", written(tmp_path / "judged.json", run))
    row = next(row for row in rows if row["set"] == "room")
    assert row["depth error, median / 90th percentile"] == "0.21% / 1.45%"


def test_an_end_to_end_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = {
        "set": "demo",
        "wall": 100.4,
        "seconds": {"sfm": 10.2, "depth": 5, "train": 60, "render": 20},
        "registered": [19, 20],
        "train": {"steps": 800, "rays_per_second": 12345, "width": 480, "height": 360},
        "video_frames": 90,
        "device": "cpu",
        "num_views": 4,
        "scores": {"psnr": 30.126, "psnr_exposure_fit": 30.2, "ssim": 0.9, "lpips": None, "depth_abs_rel": None},
    }
    before = results.read(results.RESULTS / "end_to_end.json")["rows"]
    rows = take_in(monkeypatch, "end-to-end", written(tmp_path / "run.json", run))
    assert len(rows) == len(before)  # in the place of the earlier run of this set
    row = next(row for row in rows if row["set"] == "demo")
    assert (row["photos placed"], row["PSNR"], row["in all"]) == ("19/20", "30.13", "100 s")
    assert row["scored on"] == "4 views at 480x360"
    assert "depth AbsRel" not in row
    history = json.loads((results.HISTORY / "end_to_end.json").read_text())
    assert [r["values"]["set"] for r in history["rows"]] == ["demo"]


def test_poses_beside_colmap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {"rotation_median_deg": 0.154, "rotation_max_deg": 0.3, "centre_median": 0.001, "centre_max": 0.0023}
    ours = {"photos": 4, "placed": 4, "trusted": 3, "points_per_photo": 100.4, "focal_px": 1386.2, "errors": errors}
    ours |= {"wall_seconds": 9.04, "cpu_seconds": 12, "peak_gb": 0.791}
    lost = {**ours, "placed": 0, "errors": None}
    rows = take_in(monkeypatch, "poses", written(tmp_path / "r.json", {"fox-4": {"ours": ours, "defaults": lost}}))
    mine, theirs = (
        next(row for row in rows if (row["set"], row["who"]) == ("fox-4", who))
        for who in ("depthrf", "COLMAP's defaults")
    )
    assert mine["placed (trusted)"] == "4/4 (3)"
    assert mine["rotation error, median / max"] == "0.15 / 0.30°"
    assert mine["camera centres, median / max"] == "0.10 / 0.23 %"
    assert theirs["placed (trusted)"] == "0/4 (3)"
    assert "camera centres, median / max" not in theirs


def test_an_ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"name": "preset", "order": 0, "scores": {"psnr": 21.006, "ssim": 0.84}, "origin": ORIGIN}
    written(tmp_path / "out" / "lego-3" / "preset.json", run)
    rows = take_in(monkeypatch, "ablation", tmp_path / "out")
    assert {"scene": "lego-3", "variant": "preset", "PSNR": "21.01", "SSIM": "0.840"} in rows


def test_the_peer_is_shown_with_the_better_of_its_depths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mean = {"psnr": 20, "psnr_exposure_fit": 21, "ssim": 0.7, "depth_median_abs_error": 0.784}
    run = {"name": "depthrf", "steps": 10, "seconds": 5.0, "rays_per_second": 8000.0, "mean": mean}
    other = {**run, "name": "nerfstudio", "mean": {**mean, "depth_median_abs_error_of_expected": 0.591}}
    content = {**ORIGIN, "runs": {"depthrf": run, "nerfstudio": other}}
    *_, mine, theirs = take_in(monkeypatch, "peer", written(tmp_path / "r.json", content))
    errors = {row["program"]: row["depth median error, m"] for row in (mine, theirs)}
    assert errors["nerfstudio"] == "0.591"


def test_the_gpu_benchmark_without_its_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"part": "lego", "case": "lego-3, cdf", "measured": "21 dB", "target": "24 dB", "met": "**no**"}
    content = {"rows": [{"values": {**values, "published": "", "seconds": "18 / 10"}, **ORIGIN}]}
    rows = take_in(monkeypatch, "gpu", written(tmp_path / "gpu.json", content))
    assert {"part": "lego", "case": "lego-3, cdf", "measured": "21 dB", "seconds": "18 / 10"} in rows


def test_a_bench_makes_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"scene": "lego", "scales": 1, "size": 400, "model": {"field": {"kind": "hash"}}}
    settings |= {"optimiser": {"steps": 4, "batch_rays": 64}}
    cell = {"views": "3", "group": "3", "loss": "cdf", "training": "single"}
    score = {"size": 400, "psnr": 20.571, "ssim": 0.832}
    result = {"settings": settings, "cell": cell, "scores": [score], "num_test": 200, "train_seconds": 18.2}
    written(tmp_path / "out" / "3-cdf.json", {**result, "device": "cpu"})
    (row,) = take_in(monkeypatch, "bench", tmp_path / "out")
    assert (row["PSNR"], row["published"], row["trained on"]) == ("20.57", "23.81", "400 px")
    assert row["settings"] == "4 steps of 64 pixels in 18 s, 200 test views"


def test_poses_without_colmap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours: dict[str, Any] = {"photos": 9, "placed": 9, "trusted": 9, "points_per_photo": 1, "focal_px": 2}
    ours |= {"wall_seconds": 9.04, "cpu_seconds": 12, "peak_gb": 0.791, "errors": None}
    rows = take_in(monkeypatch, "poses", written(tmp_path / "r.json", {"demo-9": {"ours": ours}}))
    assert [row["who"] for row in rows if row["set"] == "demo-9"] == ["depthrf"]


def test_costs_by_the_number_of_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {"import": {"cpu_seconds": 2, "peak_mb": 512}, "merge": {"cpu_seconds": 6, "peak_mb": 1024}}
    file = written(tmp_path / "r.json", {"side": 64, "costs": {"7": costs, "20": costs}})
    rows = {row["photos"]: row for row in take_in(monkeypatch, "growth", file) if row["width, px"] == 64}
    assert rows["7"]["merge"] == "0.86 s, 1.00 GB"
    assert rows["20"]["importing alone"] == "0.10 s, 0.50 GB"
    assert "align" not in rows["7"]


def test_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = {"name": "x", "unit": "kills", "tried": 71, "refused": 0, "runs": 1, "seconds": 1.0, "problems": []}
    disks = {**part, "unit": "full disks", "tried": 20, "refused": 18}
    wrong = {**part, "unit": "photos", "tried": 3, "problems": ["a is left", "b is left"]}
    names = ("before", "after", "random", "damage", "at-once", "clocks")
    faults = dict.fromkeys(names, part) | {"full": disks, "read-only": disks, "photos": wrong}
    counts = {"tried": 9, "handled": 8}
    fuzz = {"minutes": 3.0, "readers": 5, "inputs": 60, "refused": 2, "findings": {}}
    content = {"faults": faults, "bad input": counts, "hostile files": counts, "fuzz": fuzz, "memory": {"sfm": 300.4}}
    rows = take_in(monkeypatch, "promises", written(tmp_path / "promises.json", content))
    found = {row["what"]: (row["tried"], row["result"]) for row in rows}
    kills = found["killed before and after each rename and sync, and at random"]
    assert kills == ("71 kills, 71 kills, 71 kills", "same result bit for bit")
    others = next(row for what, row in found.items() if what.startswith("full disks"))
    assert others == (
        "20 full disks, 20 full disks, 71 kills, 3 photos, 71 kills, 71 kills",
        "2 problems: a is left",
    )
    inputs = found["bad input, hostile files, files damaged at random"]
    assert inputs == (
        "9 cases of bad input; 9 cases of hostile files; 60 inputs to 5 readers in 3 minutes",
        "8 handled; 8 handled; all read or refused",
    )
    assert found["peak memory, MB"][1] == "sfm 300"
