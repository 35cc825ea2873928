"""The Triton kernels against the reference: on the GPU where there is one, else through Triton's interpreter.

Triton decides when it is imported whether to interpret, so on machines without a GPU one test runs this file again in
a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from depthrf.nerf.hashgrid import reference
from depthrf.nerf.hashgrid.contract import resolutions

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
runs_kernels = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="no CUDA device; runs through the interpreter below"
)

triton = pytest.importorskip("triton")


def points(count: int) -> torch.Tensor:
    """Random points, some outside, and all corners, edges and faces of the cube and of cells."""
    u = torch.rand(count, 3, generator=torch.Generator().manual_seed(1)) * 1.2 - 0.1
    special = torch.cartesian_prod(*[torch.tensor([-1e9, 0.0, 0.25, 0.5, 1.0, 7.0])] * 3)
    return torch.cat([u, special]).to(DEVICE)


@runs_kernels
@pytest.mark.parametrize(
    ("levels", "features", "log2_size", "finest", "dtype"),
    [
        (4, 4, 12, 512, torch.float32),
        (3, 2, 15, 256, torch.float32),
        (1, 1, 6, 4, torch.float32),
        (3, 3, 10, 64, torch.float32),
        (2, 8, 8, 4096, torch.float32),
        (1, 1, 6, 4, torch.float16),
        (3, 3, 10, 64, torch.float16),
        (1, 1, 6, 4, torch.bfloat16),
        (2, 8, 8, 4096, torch.bfloat16),
    ],
)
def test_kernels_agree_with_the_reference(
    levels: int, features: int, log2_size: int, finest: int, dtype: torch.dtype
) -> None:
    """Values to 1e-5 for every table type, as sums are float32; gradients to 1e-4, or to the type's last bit."""
    from depthrf.nerf.hashgrid import cuda

    torch.manual_seed(0)
    table = torch.randn(levels, 2**log2_size, features).to(DEVICE, dtype)
    cells, (u, moved) = resolutions(levels, 4, finest), (points(160).requires_grad_() for _ in range(2))
    exact, tested = (table.detach().to(kind).requires_grad_() for kind in (torch.float32, dtype))
    expected, found = reference.encode(u, exact, cells), cuda.encode(moved, tested, cells)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(expected)
    expected.backward(weights)
    found.backward(weights)
    assert tested.grad.dtype == dtype
    rtol = {torch.float32: 1e-4, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
    torch.testing.assert_close(tested.grad.float(), exact.grad, atol=2e-4, rtol=rtol)
    # Slopes of steep levels cancel: the tolerance is in the steepest one's last bits.
    torch.testing.assert_close(moved.grad, u.grad, atol=1e-5 * float(u.grad.abs().max()), rtol=1e-4)


@runs_kernels
@pytest.mark.parametrize("count", [0, 1, 127, 128, 129])
def test_any_number_of_points(count: int) -> None:
    from depthrf.nerf.hashgrid import cuda

    torch.manual_seed(0)
    table = torch.randn(2, 64, 2, device=DEVICE).requires_grad_()
    u = torch.rand(count, 3, device=DEVICE).requires_grad_()
    found, expected = cuda.encode(u, table, [2, 9]), reference.encode(u, table, [2, 9])
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    by_table, by_points = torch.autograd.grad((expected * weights).sum(), [table, u])
    (found * weights).sum().backward()
    torch.testing.assert_close(table.grad, by_table, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(u.grad, by_points, atol=1e-4, rtol=1e-4)


@runs_kernels
def test_points_that_are_not_numbers_stay_inside_the_table() -> None:
    from depthrf.nerf.hashgrid import cuda

    u = torch.full((4, 3), float("nan"), device=DEVICE)
    table = torch.ones(2, 64, 2, device=DEVICE)
    assert cuda.encode(u, table, [2, 9]).shape == (4, 4)


@pytest.mark.skipif(INTERPRETED, reason="needs the compiler")
@pytest.mark.parametrize("architecture", [80, 90])
def test_kernels_compile_for_gpus(architecture: int) -> None:
    """Down to machine code, without a GPU; features next to each other are read in one access."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from depthrf.nerf.hashgrid import cuda

    sizes = {"LEVELS": 8, "SIZE": 2**17, "FEATURES": 4, "PADDED": 4, "BLOCK": 128}
    for kernel in (cuda._forward, cuda._backward, cuda._backward_points):
        names = kernel.arg_names
        types = dict.fromkeys(names, "*fp32") | dict.fromkeys(sizes, "constexpr") | {"cells": "*i32", "count": "i32"}
        constants = {(names.index(name),): value for name, value in sizes.items()}
        aligned = {(index,): [["tt.divisibility", 16]] for index in range(names.index("count"))}
        source = ASTSource(kernel, types, constants, aligned)
        compiled = triton.compile(
            source, target=GPUTarget("cuda", architecture, 32), options={"enable_fp_fusion": True}
        )
        assert "ld.global.v4" in compiled.asm["ptx"]
        assert compiled.asm["cubin"]


@pytest.mark.skipif(INTERPRETED or torch.cuda.is_available(), reason="the kernels run directly")
def test_through_the_interpreter() -> None:
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
