"""A batch of rays trained on by several CPU threads, each with its own part from the first sample to the gradient.

PyTorch's own threads share one operation at a time, and most operations of small networks are too short for that: on
two cores they came to 1.4 times the speed of one, whole parts side by side to 1.65 times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from depthrf.nerf.render import ModelOutput

_MOST_PARTS = 4


class Threads:
    """Renders parts of a batch side by side; their gradients are summed in the order of the parts.

    With one part (a GPU, one core) everything happens in the caller's thread.
    """

    def __init__(self, num_threads: int) -> None:
        # Each part has a gradient of its own, as large as the model, so there are not as many as there may be cores:
        # where there are more, the operations of each part have several.
        self.count = min(num_threads, _MOST_PARTS)
        each = num_threads // self.count
        self._pool = ThreadPoolExecutor(self.count, "train", torch.set_num_threads, (each,)) if self.count > 1 else None
        self._parts: list[ModelOutput] = []
        self._leaves: list[Tensor] = []

    def render(self, render: Callable[[slice], ModelOutput], num_rays: int) -> ModelOutput:
        """``render(rows)`` of all rows; a later :meth:`backward` takes the gradient from here to the parameters."""
        if self._pool is None:
            return render(slice(0, num_rays))
        each = -(-num_rays // self.count)
        rows = [slice(first, min(first + each, num_rays)) for first in range(0, num_rays, each)]
        self._parts = list(self._pool.map(render, rows))
        joined = (torch.cat(tensors).detach() for tensors in zip(*(p.tensors() for p in self._parts), strict=True))
        self._leaves = [tensor.requires_grad_() for tensor in joined]
        return ModelOutput.of(self._leaves)

    def backward(self, parameters: Sequence[nn.Parameter]) -> None:
        """Adds to the parameters' gradients what the loss's backward pass has left at the rendered outputs."""
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
