"""depthrf from Python: the same as the commands, with errors as exceptions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import depthrf
from tests.test_cli import write_noise


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for seed in range(6):
        write_noise(tmp_path / "photos" / f"{seed}.jpg", seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_the_package_loads_nothing_heavy_and_exports_its_calls() -> None:
    code = (
        "import sys, depthrf\n"
        "assert callable(depthrf.reconstruct) and set(depthrf.__all__) <= set(dir(depthrf)) | set(depthrf._HOMES)\n"
        "heavy = {'torch', 'cv2', 'pycolmap', 'numba', 'typer', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from depthrf import *\n"
        "assert Workspace.__module__ == 'depthrf.workspace'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        depthrf.nothing_like_it  # noqa: B018


def test_options_by_path_or_table_reach_the_plan(photos: Path) -> None:
    made = depthrf.reconstruct("photos", options={"ingest.holdout": "every:2", "train": {"seed": 4}}, until="ingest")
    assert made.root == photos.parent / "photos-depthrf"
    assert len(list((made.root / "held_out").iterdir())) == 3
    assert '"seed": 4' in made.manifest.read_text()


def test_a_second_call_does_only_what_has_changed(photos: Path) -> None:
    made = depthrf.reconstruct(photos, until="ingest")
    before = made.record("ingest").stat().st_mtime_ns
    depthrf.reconstruct(photos, until="ingest")
    assert made.record("ingest").stat().st_mtime_ns == before
    depthrf.reconstruct(photos, until="ingest", force=True)
    assert made.record("ingest").stat().st_mtime_ns > before


def test_mistakes_are_exceptions(photos: Path) -> None:
    with pytest.raises(depthrf.UsageError, match="did you mean 'seed'"):
        depthrf.reconstruct(photos, options={"train.sed": 4})
    with pytest.raises(depthrf.UsageError, match="No such folder or video"):
        depthrf.reconstruct(photos / "nothing")
    made = depthrf.reconstruct(photos, until="ingest")
    with pytest.raises(depthrf.UsageError, match="needs the results of"):
        depthrf.evaluate(made)
    with pytest.raises(depthrf.UsageError, match="Unknown key 'wat'"):
        depthrf.export(made.root, wat="mesh")
