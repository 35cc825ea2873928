"""Training on several CPU threads, each of which takes its part of a batch from the first sample to the gradient.

PyTorch's own threads split single operations, most of which are too short for that in small networks: on two cores
they reached 1.4 times the speed of one core, whole parts side by side 1.65 times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from depthrf.nerf.rays.compositing import ModelOutput

_MAX_PARTS = 4


class Threads:
    """Renders parts of a batch side by side. Their gradients are summed in a fixed order.

    With a single part (a GPU, one core) everything happens in the caller's thread.
    """

    def __init__(self, num_threads: int) -> None:
        # Each part needs a gradient as large as the model, so their number is limited. With more cores than that, each
        # part's operations use several.
        self.count = min(num_threads, _MAX_PARTS)
        each = num_threads // self.count
        self._pool = ThreadPoolExecutor(self.count, "train", torch.set_num_threads, (each,)) if self.count > 1 else None
        self._parts: list[ModelOutput] = []
        self._leaves: list[Tensor] = []

    def render(self, render: Callable[[slice], ModelOutput], num_rays: int) -> ModelOutput:
        """``render(rows)`` for all rows. :meth:`backward` continues the gradient from here to the parameters."""
        if self._pool is None:
            return render(slice(0, num_rays))
        each = -(-num_rays // self.count)
        rows = [slice(first, min(first + each, num_rays)) for first in range(0, num_rays, each)]
        self._parts = list(self._pool.map(render, rows))
        by_tensor = zip(*(part.tensors() for part in self._parts), strict=True)
        self._leaves = [torch.cat(tensors).detach().requires_grad_() for tensors in by_tensor]
        return ModelOutput.of(self._leaves)

    def backward(self, parameters: Sequence[nn.Parameter]) -> None:
        """Continues the loss's backward pass from the rendered outputs into the parameters' gradients."""
        if self._pool is None:
            return
        rows = [len(part.rgb) for part in self._parts]
        gradients = [torch.split(x.grad, rows) if x.grad is not None else None for x in self._leaves]

        def differentiate(index: int) -> Sequence[Tensor | None]:
            pairs = [
                (output, gradient[index])
                for output, gradient in zip(self._parts[index].tensors(), gradients, strict=True)
                if gradient is not None and output.requires_grad
            ]
            outputs, given = zip(*pairs, strict=True)
            return torch.autograd.grad(outputs, parameters, given, allow_unused=True)

        for found in self._pool.map(differentiate, range(len(rows))):
            for parameter, gradient in zip(parameters, found, strict=True):
                if gradient is not None:
                    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        self._parts, self._leaves = [], []
