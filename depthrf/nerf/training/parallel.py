"""Training one batch of rays on several processes, one GPU each (torch.distributed).

All processes draw the same batch and render their own share of it. The small outputs are exchanged, so that every
process computes the loss of the whole batch, masked means included, and differentiates it with respect to its own rays.
The gradients of the shares add up to those of a single process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Workers:
    """This process, number ``rank`` of ``count``. Rank 0 writes the files."""

    rank: int = 0
    count: int = 1

    def share(self, num_rays: int) -> slice:
        """The rows of a batch that belong to this process. ``num_rays`` is a multiple of ``count``."""
        each = num_rays // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def gather(self, own: Sequence[Tensor]) -> list[Tensor]:
        """Joins the rows (one per ray) of all processes; gradients flow only into this process's rows."""
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
        """For loss terms that depend on a parameter alone: its gradient must be counted in one process only."""
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
        """The value that rank 0 has. Makes the host wait for the device."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=device)
        distributed.broadcast(shared, 0)
        return float(shared)
