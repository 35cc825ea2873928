"""Whatever is written in a format of our own comes back, and whatever else is in such a file gets one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.transforms import look_at
from depthrf.io.depth.depth_maps import read_map, read_prior, write_map, write_prior
from depthrf.io.poses.transforms_json import load_views, write_transforms
from depthrf.io.weights.torch_files import read_torch_file
from depthrf.storage import read_typed, write_json

few = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)
_SIDES = st.integers(1, 9)
_NUMBERS = st.floats(-1e6, 1e6)
_NAMES = st.text(st.characters(exclude_categories=(), exclude_characters="\0"), max_size=20)


@dataclass(frozen=True)
class Table:
    name: str
    sizes: tuple[int, ...]
    focal: float | None
    more: dict[str, Any]


_TABLES = st.builds(
    Table,
    name=_NAMES,
    sizes=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5).map(tuple),
    focal=st.none() | _NUMBERS,
    more=st.dictionaries(_NAMES, st.booleans() | _NAMES | st.lists(_NUMBERS, max_size=3), max_size=4),
)
_SHAPES = st.lists(st.integers(0, 4), max_size=4)
_TENSORS = st.builds(
    lambda shape, dtype, seed: (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 9).to(dtype),
    _SHAPES,
    st.sampled_from(_DTYPES),
    st.integers(0, 99),
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _TENSORS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


@few
@given(table=_TABLES)
def test_tables_come_back(tmp_path: Path, table: Table) -> None:
    write_json(tmp_path / "t.json", table)
    assert read_typed(tmp_path / "t.json", Table) == table


@few
@given(values=_VALUES, zipped=st.booleans())
def test_tensors_and_plain_values_come_back(tmp_path: Path, values: Any, zipped: bool) -> None:
    torch.save(values, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    assert same(values, read_torch_file(tmp_path / "w.pt", verify=True))


@few
@given(depth=arrays.arrays(np.float32, st.tuples(_SIDES, _SIDES), elements=st.floats(0, 1e6, width=32)))
def test_maps_and_priors_come_back(tmp_path: Path, depth: np.ndarray) -> None:
    write_map(tmp_path / "m.npy", depth)
    np.testing.assert_array_equal(read_map(tmp_path / "m.npy"), depth)
    source = np.ones(depth.shape, np.uint8)
    write_prior(tmp_path / "p.npz", DepthPrior(depth, 0.5 * depth), source)
    prior, read_source = read_prior(tmp_path / "p.npz")
    np.testing.assert_array_equal(prior.depth, depth)
    np.testing.assert_array_equal(prior.sigma, 0.5 * depth)
    np.testing.assert_array_equal(read_source, source)


@few
@given(
    centre=st.tuples(_NUMBERS, _NUMBERS, _NUMBERS),
    size=st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    focal=st.floats(0.5, 2.0),
)
def test_views_come_back(
    tmp_path: Path, centre: tuple[float, float, float], size: tuple[int, int], focal: float
) -> None:
    width, height = size
    f = focal * max(size)
    camera = Camera(width, height, f, f, width / 2, height / 2)
    at = np.array(centre)
    view = View("a.jpg", camera, look_at(at, at + np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0])))
    write_transforms(tmp_path / "t.json", [view], image_folder="images")
    (found,), _ = load_views(tmp_path / "t.json")
    assert found.camera == camera
    np.testing.assert_allclose(found.cam_from_world[:3, :3], view.cam_from_world[:3, :3], atol=1e-9)
    np.testing.assert_allclose(found.centre, at, atol=1e-6 * (1 + np.abs(at).max()))


def _write_views(path: Path) -> None:
    pose = look_at(np.zeros(3), np.ones(3), np.array([0.0, 0.0, 1.0]))
    write_transforms(path, [View("a.jpg", Camera(9, 9, 9.0, 9.0, 4.5, 4.5), pose)], image_folder="images")


FORMATS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "table": (lambda p: write_json(p, Table("a", (1, 2), 3.0, {"b": [1.0]})), lambda p: read_typed(p, Table)),
    "weights": (lambda p: torch.save({"a": torch.arange(6.0)}, p), read_torch_file),
    "older weights": (
        lambda p: torch.save({"a": torch.arange(6.0)}, p, _use_new_zipfile_serialization=False),
        read_torch_file,
    ),
    "map": (lambda p: write_map(p, np.ones((3, 4), np.float32)), read_map),
    "prior": (
        lambda p: write_prior(p, DepthPrior(np.ones((3, 4)), np.ones((3, 4))), np.ones((3, 4), np.uint8)),
        read_prior,
    ),
    "views": (_write_views, load_views),
}
_ENDINGS = {"map": "npy", "prior": "npz"}


@pytest.mark.parametrize("kind", FORMATS)
@few
@given(place=st.floats(0, 1), removed=st.integers(0, 40), added=st.binary(max_size=12))
def test_damage_is_told_in_one_sentence(tmp_path: Path, kind: str, place: float, removed: int, added: bytes) -> None:
    write, read = FORMATS[kind]
    path = tmp_path / f"f.{_ENDINGS.get(kind, 'x')}"
    write(path)
    whole = path.read_bytes()
    at = int(place * len(whole))
    path.write_bytes(whole[:at] + added + whole[at + removed :])
    message = refusal(read, path)
    # Damage in a number may go unnoticed here; fingerprints notice it.
    assert message is None or (str(path) in message and "\n" not in message)


def refusal(read: Callable[[Path], object], path: Path) -> str | None:
    """What the user is told; None where the file is read."""
    try:
        read(path)
    except DepthrfError as e:
        return str(e)
    return None
