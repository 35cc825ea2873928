"""Cameras as the feature database holds them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthrf.geometry.lens import LENS_MODELS, Lens
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import import_photos
from depthrf.sfm.child.models import lens_of
from depthrf.sfm.jobs import CameraGroup


def photos(folder: Path) -> list[str]:
    names = ["a b.png", "ä.png"]
    folder.mkdir()
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((48, 64, 3), np.uint8))
    return names


@pytest.mark.parametrize("model", [name for name, _ in LENS_MODELS.values()])
def test_every_lens_arrives_as_it_was_given(model: str, tmp_path: Path) -> None:
    names = photos(tmp_path / "photos")
    number = dict(LENS_MODELS.values())[model]
    lens = Lens(model, 64, 48, tuple(70.1 / (i + 1) for i in range(number)))
    database = tmp_path / "a.db"
    import_photos(database, tmp_path / "photos", [CameraGroup(tuple(names), 64, 48, None, lens)], names)
    with pycolmap.Database.open(database) as opened:
        (camera,) = opened.read_all_cameras()
        assert [image.name for image in opened.read_all_images()] == names
    assert lens_of(camera) == lens
    assert camera.has_prior_focal_length


@pytest.mark.parametrize(("focal_px", "expected"), [(None, 1.2 * 64), (50.0, 50.0)])
def test_only_a_known_focal_length_counts_as_known(tmp_path: Path, focal_px: float | None, expected: float) -> None:
    names = photos(tmp_path / "photos")
    database = tmp_path / "a.db"
    import_photos(database, tmp_path / "photos", [CameraGroup(tuple(names), 64, 48, focal_px)], names)
    with pycolmap.Database.open(database) as opened:
        (camera,) = opened.read_all_cameras()
    assert lens_of(camera) == Lens("SIMPLE_RADIAL", 64, 48, (expected, 32.0, 24.0, 0.0))
    assert camera.has_prior_focal_length == (focal_px is not None)


def test_an_import_that_was_killed_halfway_is_done_again(tmp_path: Path) -> None:
    """Killed after the photos were entered, before their guessed focal length was marked as a guess."""
    names = photos(tmp_path / "photos")
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from depthrf.sfm.child._pycolmap import pycolmap\n"
        "from depthrf.sfm.child.features import import_photos; from depthrf.sfm.jobs import CameraGroup\n"
        "real = pycolmap.import_images\n"
        "def killed(*arguments):\n"
        "    real(*arguments); os.kill(os.getpid(), signal.SIGKILL)\n"
        "pycolmap.import_images = killed\n"
        "folder, *names = sys.argv[1:]\n"
        "group = CameraGroup(tuple(names), 64, 48, None)\n"
        "import_photos(Path(folder) / 'a.db', Path(folder) / 'photos', [group], names)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path), *names], check=False)
    assert killed.returncode == -signal.SIGKILL
    import_photos(tmp_path / "a.db", tmp_path / "photos", [CameraGroup(tuple(names), 64, 48, None)], names)
    with pycolmap.Database.open(tmp_path / "a.db") as opened:
        (camera,) = opened.read_all_cameras()
        assert [image.name for image in opened.read_all_images()] == names
    assert not camera.has_prior_focal_length
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "photos"]
