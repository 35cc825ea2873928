"""What a stage of a run will take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """seconds: On this machine when it does nothing else. memory_mb: Most that the process holds meanwhile, MB; None
    where it could not be tried. work: What is done, in words."""

    seconds: float
    memory_mb: float | None
    work: str
