"""The wheel and the sdist hold all that the program needs, and work outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from depthrf import __version__
from tests.test_cli import write_noise

ROOT = Path(__file__).parents[1]


def call(*command: object, cwd: Path, path: Path | None = None) -> str:
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel built from the checkout, and the one built from the sdist."""
    built = tmp_path_factory.mktemp("dist")
    call("hatchling", "build", "-d", built, cwd=ROOT)
    (sdist,) = built.glob("*.tar.gz")
    assert sdist.name == f"depthrf-{__version__}.tar.gz"
    again = built / "again"
    call("pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", again, sdist, cwd=built)
    (wheel,), (from_sdist,) = built.glob("*.whl"), again.glob("*.whl")
    return {"wheel": wheel, "sdist": from_sdist}


def test_both_hold_the_same_files_and_nothing_else(wheels: dict[str, Path]) -> None:
    names = {kind: set(zipfile.ZipFile(path).namelist()) for kind, path in wheels.items()}
    assert names["wheel"] == names["sdist"]
    shipped = {name for name in names["wheel"] if not name.endswith(".py")}
    assert {"depthrf/pipelines/cpu.toml", "depthrf/weights/manifest.toml", "depthrf/py.typed"} <= shipped
    assert {name.partition("/")[0] for name in names["wheel"]} == {"depthrf", f"depthrf-{__version__}.dist-info"}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_works_outside_the_checkout(wheels: dict[str, Path], tmp_path: Path, kind: str) -> None:
    target = tmp_path / "site"
    call("pip", "install", "-q", "--no-deps", "--target", target, wheels[kind], cwd=tmp_path)
    code = "import depthrf; print(depthrf.__file__)"
    assert call("timeit", "-n1", "-r1", code, cwd=tmp_path, path=target).startswith(str(target))
    assert call("depthrf", "--version", cwd=tmp_path, path=target).strip() == f"depthrf {__version__}"
    assert "omnidata" in call("depthrf", "weights", "list", cwd=tmp_path, path=target)
    for seed in range(3):
        write_noise(tmp_path / "photos" / f"{seed}.jpg", seed)
    call("depthrf", "reconstruct", "photos", "--pipeline=cpu", "--until=ingest", cwd=tmp_path, path=target)
    assert len(list((tmp_path / "photos-depthrf" / "images").iterdir())) == 3
