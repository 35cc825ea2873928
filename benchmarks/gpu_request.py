"""What the parts of the GPU benchmark are asked and what they answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """What the command line asks for; ``out`` is absolute."""

    out: Path
    device: str
    quick: bool
    commit: str
    lego: Path | None
    workspace: Path | None
    test_every: int
    lego_steps: int | None
    seed_steps: int | None
    seed_test_every: int

    @staticmethod
    def of(given: argparse.Namespace, out: Path) -> Request:
        values = {k: v for k, v in vars(given).items() if k in Request.__dataclass_fields__}
        return Request(out=out, **values)

    def folder(self, name: str) -> Path:
        """For the files of a part."""
        return self.out / name


@dataclass(frozen=True)
class Row:
    """One line of the table; ``met``: None where there is no target."""

    case: str
    measured: str
    target: str = ""
    met: bool | None = None
    published: str = ""
    seconds: str = ""


Add = Callable[[Row], None]


def clear_peak(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> str:
    """What torch has allocated at most since the last clearing, as the end of a sentence; nothing on the CPU."""
    if device != "cuda":
        return ""
    import torch

    megabytes = torch.cuda.max_memory_allocated() / 1e6
    # Next to nothing: the work was done by an earlier process, whose peak is not known here.
    return f", peak {megabytes:,.0f} MB" if megabytes > 1.0 else ""
