"""``records/<stage>.json``: what a stage ran with and what it found. It is written last: the stage is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depthrf.storage import read_typed


@dataclass(frozen=True)
class Record:
    """One run of a stage.

    Attributes:
        identity: The options that decide the result; ``options`` has all of them.
        inputs, outputs: Fingerprints of what was read and written, by path.
        summary: What the stage's ``run`` returned.
        peak_memory_mb: None where the system does not tell.
        finished: When, in UTC.
        versions: Of depthrf and the packages that decide results.
    """

    stage: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    device: str = "cpu"
    seconds: float = 0.0
    peak_memory_mb: float | None = None
    finished: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def read_record(path: Path) -> Record | None:
    """The record; None where the stage has not run.

    Raises:
        DepthrfError: The file is damaged.
    """
    return read_typed(path, Record) if path.is_file() else None
