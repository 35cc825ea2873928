"""MLPs in one kernel against the same layers in PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from depthrf.nerf.kernels.mlp import mlp


def layers(x: Tensor, weights: Sequence[Tensor], bias: Tensor | None, shared: Tensor | None) -> Tensor:
    for index, weight in enumerate(weights):
        last = index == len(weights) - 1
        x = linear(x, weight, bias if last else None)
        if index == 0 and shared is not None:
            x = x + shared.repeat_interleave(len(x) // len(shared), 0)
        x = x if last else torch.relu(x)
    return x


def made(count: int, widths: Sequence[int], group: int, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs (a view whose rows lie apart), bias and what groups share; weights."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    others = [random(count, widths[0] + 1), random(widths[-1])] + ([random(count // group, widths[1])] if group else [])
    weights = [random(outputs, inputs) for inputs, outputs in itertools.pairwise(widths)]
    return [x.requires_grad_() for x in others], [x.requires_grad_() for x in weights]


@pytest.mark.parametrize(
    ("count", "widths", "group"),
    [
        (1000, (32, 64, 16), 0),
        (960, (15, 64, 64, 3), 24),
        (20_000, (10, 16, 1), 0),
        (17_000, (5, 7, 3), 17),
        (49, (33, 50, 20, 130), 7),
        (1, (1, 1), 0),
        (5, (1, 1, 1), 1),
    ],
)
def test_values_and_gradients_are_those_of_separate_layers(count: int, widths: tuple[int, ...], group: int) -> None:
    """Widths that fill no vector, points that fill no tile, several chunks; float64 is the truth."""
    results = []
    for apply, dtype in ((layers, torch.float64), (mlp, torch.float32)):
        (x, bias, *shared), weights = made(count, widths, group, dtype)
        found = apply(x[:, 1:], weights, bias, shared[0] if shared else None)
        toward = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
        found.backward(toward.to(dtype))
        results.append([found, *(tensor.grad for tensor in (x, bias, *shared, *weights))])
    for expected, found in zip(*results, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, atol=2e-5 * float(expected.detach().abs().max()), rtol=0.0)


def test_without_bias_and_where_no_gradient_of_the_inputs_is_asked_for() -> None:
    (x, _), weights = made(100, (9, 20, 4), 0, torch.float32)
    x = x.detach()
    for apply in (layers, mlp):
        apply(x, [torch.ones(20, 10), weights[1]], None, None).sum().backward()
    expected = 2.0 * torch.relu(x.sum(1)).sum()  # each of the two added it once
    torch.testing.assert_close(weights[1].grad, expected.expand(4, 20), rtol=1e-4, atol=0.0)


def test_no_points() -> None:
    (_, bias), weights = made(4, (3, 8, 2), 0, torch.float32)
    found = mlp(torch.zeros(0, 3), weights, bias)
    found.sum().backward()
    assert found.shape == (0, 2)
    assert all((weight.grad == 0).all() for weight in weights)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    before, results = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        (x, bias, shared), weights = made(24_000, (15, 64, 64, 3), 24, torch.float32)
        found = mlp(x[:, 1:], weights, bias, shared)
        (found**2).sum().backward()
        results.append([found, *(tensor.grad for tensor in (x, bias, shared, *weights))])
    torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_not_finite_values_reach_the_gradient() -> None:
    """The trainer finds broken steps by it."""
    (x, bias), weights = made(100, (4, 16, 2), 0, torch.float32)
    broken = x.detach()[:, 1:].clone()
    broken[50, 2] = torch.nan
    mlp(broken, weights, bias).sum().backward()
    assert not torch.isfinite(torch.stack([weight.grad.abs().max() for weight in weights])).all()
