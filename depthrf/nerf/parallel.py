"""One batch of rays trained on by several processes, one GPU each (torch.distributed).

All processes draw the same batch and render their own share of it. The small outputs are exchanged, so that every
process sees the loss of the whole batch, with its masked means, and differentiates it with respect to its own rays;
the gradients of the shares add up to those of one process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Workers:
    """This process among ``count``; ``rank`` 0 is the one that writes."""

    rank: int = 0
    count: int = 1

    def share(self, num_rays: int) -> slice:
        """The rows of a batch that are this process's; ``num_rays`` is a multiple of ``count``."""
        each = num_rays // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def gather(self, own: Sequence[Tensor]) -> list[Tensor]:
        """Tensors with one row a ray of the whole batch; gradients flow into this process's rows only."""
        if self.count == 1:
            return list(own)
        rows = len(own[0])
        packed = torch.cat([x.reshape(rows, -1) for x in own], dim=1)
        parts = [torch.empty_like(packed) for _ in range(self.count)]
        distributed.all_gather(parts, packed.detach())
        parts[self.rank] = packed
        widths = [x[0].numel() for x in own]
        columns = torch.split(torch.cat(parts), widths, dim=1)
        return [c.reshape(-1, *x.shape[1:]) for c, x in zip(columns, own, strict=True)]

    def once(self, parameter: Tensor) -> Tensor:
        """For loss terms of a parameter (or what follows from it) alone, which must count in one process only."""
        return parameter if self.rank == 0 else parameter.detach()

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces each gradient by the sum over all processes."""
        if self.count > 1:
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                distributed.all_reduce(parameter.grad)

    def barrier(self) -> None:
        """Waits for all processes."""
        if self.count > 1:
            distributed.barrier()

    def from_first(self, value: float, device: torch.device) -> float:
        """The value of rank 0. Makes the host wait."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=device)
        distributed.broadcast(shared, 0)
        return float(shared)
