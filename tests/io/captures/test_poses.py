"""Given poses are joined to photos by name, by the name before conversion, by stem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import UsageError
from depthrf.geometry.lens import Lens
from depthrf.io.captures.poses import join_poses, read_poses
from depthrf.io.poses.given_poses import GivenPoses, PosedPhoto

LENS = Lens("PINHOLE", 100, 50, (80.0, 80.0, 50.0, 25.0))
WHERE = Path("transforms.json")


def given(*names: str, train: frozenset[str] | None = None, test: frozenset[str] = frozenset()) -> GivenPoses:
    return GivenPoses([PosedPhoto(name, LENS, np.eye(4)) for name in names], train, test)


def test_name_then_source_then_stem() -> None:
    photos = {"a.jpg": (100, 50), "b.jpg": (100, 50), "r_0.5.png": (100, 50), "lost.jpg": (100, 50)}
    joined = join_poses(
        given("images/a.jpg", "images/b.HEIC", "train/r_0.5", "unused.jpg"), photos, {"b.jpg": "b.HEIC"}, WHERE
    )
    assert {k: v.name for k, v in joined.poses.items()} == {
        "a.jpg": "images/a.jpg",
        "b.jpg": "images/b.HEIC",
        "r_0.5.png": "train/r_0.5",
    }
    assert joined.missing == ["lost.jpg"]


def test_split() -> None:
    photos = {f"{c}.jpg": (100, 50) for c in "abc"}
    joined = join_poses(
        given("a.jpg", "b.jpg", "c.jpg", train=frozenset({"a.jpg"}), test=frozenset({"b.jpg"})), photos, {}, WHERE
    )
    assert joined.test == {"b.jpg"}
    assert joined.unlisted == ["c.jpg"]


def test_intrinsics_follow_the_photo_size() -> None:
    joined = join_poses(given("a.jpg"), {"a.jpg": (200, 100)}, {}, WHERE)
    assert joined.poses["a.jpg"].camera.params == (160.0, 160.0, 100.0, 50.0)


def test_wrong_shape_raises() -> None:
    with pytest.raises(UsageError, match="100x50 image, the photo is 50x100"):
        join_poses(given("a.jpg"), {"a.jpg": (50, 100)}, {}, WHERE)


def test_no_common_name_raises() -> None:
    with pytest.raises(UsageError, match="none of its 1 poses"):
        join_poses(given("x.jpg"), {"a.jpg": (100, 50)}, {}, WHERE)


def test_ambiguous_poses_raise() -> None:
    with pytest.raises(UsageError, match="could all be the pose"):
        join_poses(given("left/a.jpg", "right/a.jpg"), {"a.jpg": (100, 50)}, {}, WHERE)


def test_not_poses(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_poses(tmp_path / "nothing.json", {})
    with pytest.raises(UsageError, match="holds no poses"):
        read_poses(tmp_path, {})
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(UsageError, match="not readable JSON"):
        read_poses(broken, {})
