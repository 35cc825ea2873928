"""depthrf check on real files: verdict, exit code, JSON, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthrf.io.poses.transforms_json import write_transforms
from depthrf.sfm.pairing import choice
from depthrf.stages import check
from tests.scenes import corner


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    corner.write_photos(tmp_path / "photos", corner.views(6))
    return tmp_path / "photos"


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from depthrf.cli import main; main()", "check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def test_good_photos(photos: Path, tmp_path: Path) -> None:
    first = min(photos.iterdir())
    first.rename(first.with_name("a[edit].png"))
    before = sorted(tmp_path.rglob("*"))
    done = run(photos, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("green: ")
    assert all(p.name in done.stderr for p in photos.iterdir())
    assert sorted(tmp_path.rglob("*")) == before


def test_of_many_photos_only_promising_pairs_are_matched_until_all_photos_hang_together(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = check.run(photos).report
    monkeypatch.setattr(check, "_ALL_PAIRS", 1)
    monkeypatch.setattr(choice, "promising", lambda *_: {(0, 1), (1, 2), (2, 3), (4, 5)})
    chosen = check.run(photos).report
    tried = {(0, 1), (1, 2), (2, 3), (4, 5)} | {(i, j) for i in range(4) for j in (4, 5)}
    names = [photo.name for photo in chosen.photos]
    assert {(names.index(link.first), names.index(link.second)) for link in chosen.links} <= tried
    assert chosen.groups == everything.groups
    assert chosen.verdict == everything.verdict == "green"


def test_photos_of_an_export_lie_where_it_says(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    photos.rename(tmp_path / "export" / "images")
    write_transforms(tmp_path / "export" / "transforms.json", corner.views(6), image_folder="images")
    done = run("export", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 photos with poses" in done.stderr


def test_json_for_scripts(photos: Path, tmp_path: Path) -> None:
    (photos / "notes.txt").write_text("hello")
    name = sorted(p.name for p in photos.iterdir() if p.suffix == ".png")[2]
    image = cv2.imread(str(photos / name))
    cv2.imwrite(str(photos / name), (image * 0.1).astype(np.uint8))
    done = run(photos, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"] == "amber"
    assert name in report["advice"]
    assert [r["name"] for r in report["rejected"]] == ["notes.txt"]
    assert len(report["photos"]) == 6
    assert {"first", "second", "num_matches"} <= set(report["links"][0])


def test_bad_photos_exit_with_1(photos: Path, tmp_path: Path) -> None:
    for seed, path in enumerate(sorted(photos.iterdir())):
        corner.write_photos(photos, [v for v in corner.views(6) if v.name == path.name], seed=seed + 1)
    done = run(photos, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("red: No two photos share enough detail.")
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty", cwd=tmp_path)
    assert done.returncode == 1
    assert "at least 3" in done.stdout
    assert "Traceback" not in done.stderr
    assert run(tmp_path / "nowhere", cwd=tmp_path).returncode == 2


def test_masked_detail_links_nothing(photos: Path) -> None:
    assert check.run(photos).report.verdict == "green"
    for path in list(photos.iterdir()):
        (photos / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(photos / "masks" / f"{path.stem}.png"), np.zeros((90, 120), np.uint8))
    report = check.run(photos).report
    assert report.verdict == "red"
    assert not report.links


@pytest.mark.data
@pytest.mark.slow
def test_real_photos(evaluation_data: Path, tmp_path: Path) -> None:
    for path in sorted((evaluation_data / "fox" / "images").iterdir())[::8]:
        (tmp_path / path.name).symlink_to(path)
    assert check.run(tmp_path).report.verdict == "green"
