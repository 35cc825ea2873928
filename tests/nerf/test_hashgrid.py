from __future__ import annotations

import importlib.util

import pytest
import torch

from depthrf.nerf import hashgrid
from depthrf.nerf.hashgrid import cpu, reference
from depthrf.nerf.hashgrid.contract import PRIMES, is_dense, resolutions


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
    u = points()
    tables = [table.clone().requires_grad_() for _ in range(2)]
    outputs = [f(u, t, cells) for f, t in zip((reference.encode, cpu.encode), tables, strict=True)]
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-5)
    grad = torch.randn_like(outputs[0])
    for output in outputs:
        output.backward(grad)
    torch.testing.assert_close(tables[0].grad, tables[1].grad, atol=2e-4, rtol=1e-4)


def test_kernel_does_not_depend_on_the_number_of_threads() -> None:
    torch.manual_seed(0)
    u, grad = points(20_000), torch.randn(20_064, 16)
    results, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        table = torch.linspace(-1, 1, 8 * 256 * 2).reshape(8, 256, 2).requires_grad_()
        cpu.encode(u, table, resolutions(8, 4, 64)).backward(grad)
        results.append(table.grad)
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])


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
