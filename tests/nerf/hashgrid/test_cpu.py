from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest
import torch

from depthrf.nerf import hashgrid
from depthrf.nerf.hashgrid import cpu, reference
from depthrf.nerf.hashgrid.contract import PRIMES, is_dense, resolutions

Encode = Callable[[torch.Tensor, torch.Tensor, list[int]], torch.Tensor]


def points(n: int = 4000) -> torch.Tensor:
    """Random points, some outside, and all corners and edges of the cube."""
    generator = torch.Generator().manual_seed(1)
    u = torch.rand(n, 3, generator=generator) * 1.2 - 0.1
    special = torch.cartesian_prod(*[torch.tensor([0.0, 0.25, 0.5, 1.0])] * 3)
    return torch.cat([u, special])


@pytest.mark.parametrize(("levels", "features", "log2_size"), [(8, 4, 12), (5, 2, 15), (1, 1, 6)])
def test_kernel_agrees_with_reference(levels: int, features: int, log2_size: int) -> None:
    torch.manual_seed(0)
    table = torch.randn(levels, 2**log2_size, features)
    cells = resolutions(levels, 4, 512)
    places = [points().requires_grad_() for _ in range(2)]
    tables = [table.clone().requires_grad_() for _ in range(2)]
    outputs = [f(u, t, cells) for f, u, t in zip((reference.encode, cpu.encode), places, tables, strict=True)]
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-5)
    grad = torch.randn_like(outputs[0])
    for output in outputs:
        output.backward(grad)
    torch.testing.assert_close(tables[0].grad, tables[1].grad, atol=2e-4, rtol=1e-4)
    slope = places[0].grad
    torch.testing.assert_close(slope, places[1].grad, atol=1e-5 * float(slope.abs().max()), rtol=1e-4)


def test_kernel_does_not_depend_on_the_number_of_threads() -> None:
    torch.manual_seed(0)
    u, grad = points(20_000).requires_grad_(), torch.randn(20_064, 16)
    results, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        table = torch.linspace(-1, 1, 8 * 256 * 2).reshape(8, 256, 2).requires_grad_()
        cpu.encode(u, table, resolutions(8, 4, 64)).backward(grad)
        results.append((table.grad, u.grad))
        u.grad = None
    torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_gradient_of_points_is_that_of_finite_differences() -> None:
    """In float64, both hashed and dense levels; no point is within a step of a cell's border."""
    torch.manual_seed(0)
    table, cells, step = torch.randn(3, 128, 2, dtype=torch.float64), [4, 9, 31], 1e-6
    inner = (torch.rand(40, 3, dtype=torch.float64) * 0.98 + 0.01 + torch.randint(0, 4, (40, 3))) / 4.0
    u = inner[((inner[:, None] * torch.tensor(cells)[:, None] % 1.0 - 0.5).abs() < 0.499).all(-1).all(-1)]
    assert len(u) > 20
    u.requires_grad_()
    weights = torch.randn(len(u), 6, dtype=torch.float64)
    (reference.encode(u, table, cells) * weights).sum().backward()
    for axis in range(3):
        moved = step * torch.eye(3, dtype=torch.float64)[axis]
        difference = reference.encode(u.detach() + moved, table, cells) - reference.encode(
            u.detach() - moved, table, cells
        )
        expected = (difference * weights).sum(-1) / (2.0 * step)
        torch.testing.assert_close(u.grad[:, axis], expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
def test_points_that_are_nowhere_leave_the_memory_alone(value: float) -> None:
    """A field that breaks down in training asks for them, before the step is left out."""
    table = torch.ones(4, 64, 2, requires_grad=True)
    u = torch.full((1000, 3), value).requires_grad_()
    encoded = cpu.encode(u, table, [2, 3, 8, 100])
    encoded.sum().backward()
    assert encoded.shape == (1000, 8)
    if abs(value) > 1e9:
        torch.testing.assert_close(encoded, torch.ones_like(encoded))
        assert float(table.grad.sum()) == pytest.approx(1000 * 8)


@pytest.mark.parametrize("encode", [reference.encode, cpu.encode], ids=["reference", "numba"])
def test_gradient_at_borders_and_outside(encode: Encode) -> None:
    """Corner values x^2 along x: the slope is the upper cell's on a border, the last cell's at the end, 0 outside."""
    cells, size = 4, 128
    table = torch.zeros(1, size, 1)
    x = torch.arange(5.0).repeat(25)  # x fastest
    table[0, :125, 0] = x**2
    for place, slope in [(0.0, 1), (0.25, 3), (0.3, 3), (0.75, 7), (1.0, 7), (-0.1, 0), (1.1, 0), (1e9, 0), (-1e9, 0)]:
        u = torch.tensor([[place, 0.4, 1.5]], requires_grad=True)
        encode(u, table, [cells]).sum().backward()
        torch.testing.assert_close(u.grad, torch.tensor([[4.0 * slope, 0.0, 0.0]]), atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("encode", [reference.encode, cpu.encode], ids=["reference", "numba"])
def test_only_what_is_asked_for_gets_a_gradient(encode: Encode) -> None:
    u, table = torch.rand(5, 3), torch.rand(2, 64, 2)
    assert not encode(u, table, [2, 9]).requires_grad
    learned = table.clone().requires_grad_()
    encode(u, learned, [2, 9]).sum().backward()
    moving = u.clone().requires_grad_()
    encode(moving, table, [2, 9]).sum().backward()
    assert u.grad is None
    assert table.grad is None
    assert float(learned.grad.abs().sum()) > 0
    assert float(moving.grad.abs().sum()) > 0


def test_dense_level_reproduces_a_trilinear_function() -> None:
    """Corner values of a function that is linear in x, y, z give it back exactly between the corners."""
    cells = 8
    corner = torch.cartesian_prod(*[torch.arange(cells + 1.0)] * 3).flip(-1) / cells  # x fastest
    values = corner @ torch.tensor([1.0, -2.0, 0.5]) + 3.0
    table = torch.zeros(1, 1024, 1)
    table[0, : len(values), 0] = values
    u = torch.rand(200, 3)
    expected = u @ torch.tensor([1.0, -2.0, 0.5]) + 3.0
    torch.testing.assert_close(cpu.encode(u, table, [cells])[:, 0], expected, atol=1e-5, rtol=1e-5)


def test_hashed_entry_is_that_of_the_paper() -> None:
    cells, size = 100, 64
    assert not is_dense(cells, size)
    table = torch.arange(float(size)).reshape(1, size, 1)
    x, y, z = 17, 93, 40
    entry = (x * PRIMES[0] ^ y * PRIMES[1] ^ z * PRIMES[2]) % 2**32 % size
    u = torch.tensor([[x / cells, y / cells, z / cells]])
    assert float(reference.encode(u, table, [cells])[0, 0]) == pytest.approx(entry, abs=1e-2)


def test_resolutions_are_geometric() -> None:
    assert resolutions(8, 16, 2048) == [16 * 2**i for i in range(8)]
    assert resolutions(1, 16, 2048) == [16]


def test_gradient_is_the_interpolation_weight() -> None:
    table = torch.zeros(2, 4096, 2, dtype=torch.float32, requires_grad=True)
    cpu.encode(torch.rand(50, 3), table, [8, 200]).sum().backward()
    assert float(table.grad.sum()) == pytest.approx(50 * 2 * 2, rel=1e-5)


def test_each_device_has_the_fastest_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    implementation = hashgrid.implementation.__wrapped__
    assert implementation("cpu") is cpu.encode
    monkeypatch.setattr(hashgrid.shutil, "which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    if importlib.util.find_spec("triton"):
        assert hashgrid.missing_for_triton() == "gcc"
    assert implementation("cuda") is reference.encode
