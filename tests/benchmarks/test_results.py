from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import results


def test_the_page_is_what_the_results_say() -> None:
    assert results.PAGE.read_text(encoding="utf-8") == results.page(), "run: python -m tests.benchmarks.results"


def test_absent_values_are_said_and_wrong_keys_refused(tmp_path: Path) -> None:
    origin = {"commit": "abc", "date": "2026-01-01", "hardware": "a machine"}
    table = {
        "order": 1,
        "title": "Table",
        "command": "run",
        "columns": ["set", "PSNR", "LPIPS"],
        "measured": [{"values": {"set": "a", "PSNR": 20.5}, **origin}],
        "peers": [{"values": {"set": "a", "PSNR": 19}, "source": "peer 1.0", **origin}],
        "published": [{"values": {"set": "a", "PSNR": 21}, "source": "a paper"}],
    }
    (tmp_path / "t.json").write_text(json.dumps(table))
    lines = results.page(tmp_path).splitlines()
    assert "| a | 20.5 | – | abc, 2026-01-01 |" in lines
    assert "| a | 19 | – | peer 1.0; run here 2026-01-01 |" in lines
    assert "| a | 21 |  | published: a paper |" in lines
    assert "Hardware: a machine." in lines
    table["measured"][0]["values"]["psnr"] = 1
    (tmp_path / "t.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match="no such columns"):
        results.page(tmp_path)


def test_an_end_to_end_run_becomes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = json.loads((results.RESULTS / "end_to_end.json").read_text(encoding="utf-8"))
    (tmp_path / "end_to_end.json").write_text(json.dumps({**table, "measured": []}))
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    run = {
        "set": "demo",
        "wall": 100.4,
        "seconds": {"sfm": 10.2, "train": 60, "render": 20},
        "registered": [19, 20],
        "train": {"steps": 800, "rays_per_second": 12345, "width": 480, "height": 360},
        "video_frames": 90,
        "device": "cpu",
        "num_views": 4,
        "scores": {"psnr": 30.126, "psnr_exposure_fit": 30.2, "ssim": 0.9, "lpips": None},
    }
    (tmp_path / "run").write_text(json.dumps(run))
    for _ in range(2):  # a second time replaces the row
        results.from_end_to_end(tmp_path / "run")
    (row,) = results.read(tmp_path / "end_to_end.json")["measured"]
    assert row["values"]["photos placed"] == "19/20"
    assert row["values"]["PSNR"] == "30.13"
    assert "LPIPS" not in row["values"]
