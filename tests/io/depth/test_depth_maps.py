from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import DepthrfError
from depthrf.geometry.camera import DepthPrior
from depthrf.io.depth.depth_maps import (
    read_map,
    read_prior,
    read_sensor_depth,
    write_map,
    write_prior,
    write_sensor_depth,
)
from depthrf.io.photos.images import write_png


def test_sensor_depth_round_trip(tmp_path: Path) -> None:
    metres = np.array([[0.0, 0.001, 1.2345], [65.535, 3.0, 0.5]])
    write_sensor_depth(tmp_path / "Küche 1.png", metres)
    back = read_sensor_depth(tmp_path / "Küche 1.png")
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, metres, atol=0.00051)


@pytest.mark.parametrize("bad", [65.536, 1000.0, -0.001, np.nan, np.inf])
def test_uint16_overflow_raises(tmp_path: Path, bad: float) -> None:
    with pytest.raises(DepthrfError, match="16-bit"):
        write_sensor_depth(tmp_path / "d.png", np.array([[1.0, bad]]))
    assert not (tmp_path / "d.png").exists()


def test_other_images_are_not_sensor_depth(tmp_path: Path) -> None:
    write_png(tmp_path / "rgb.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "noise.png").write_bytes(b"nothing")
    for name in ("rgb.png", "noise.png", "missing.png"):
        with pytest.raises(DepthrfError, match=name):
            read_sensor_depth(tmp_path / name)


def test_maps_and_priors_round_trip_and_damage_is_told(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    write_map(tmp_path / "m.npy", values)
    np.testing.assert_array_equal(read_map(tmp_path / "m.npy"), values)
    write_prior(tmp_path / "p.npz", DepthPrior(values, values / np.float32(10)), (values > 0.5).astype(np.uint8))
    prior, source = read_prior(tmp_path / "p.npz")
    np.testing.assert_array_equal(prior.depth, values)
    np.testing.assert_array_equal(prior.sigma, values / 10)
    np.testing.assert_array_equal(source, values > 0.5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.npy", "p.npz"]
    for name, read in (("m.npy", read_map), ("p.npz", read_prior)):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:60])
        with pytest.raises(DepthrfError, match="damaged"):
            read(tmp_path / name)
