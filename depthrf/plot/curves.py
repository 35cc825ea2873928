"""Training curves: PSNR of the batches, each loss and the speed, by step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.errors import DepthrfError, UsageError
from depthrf.io.files import MOST_TEXT, read_regular
from depthrf.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOT_LOSSES = ("step", "seconds", "rays_per_second", "psnr")


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.jsonl. A last line that was cut off when training was killed is left out.

    Raises:
        UsageError: The file is missing or has no complete row.
        DepthrfError: A line other than the last is damaged.
    """
    if not path.is_file():
        raise UsageError(f"{path} is missing: nothing has been trained here. Run: depthrf train {path.parents[1]}")
    try:
        lines = read_regular(path, MOST_TEXT).splitlines()
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror}.") from e
    rows = []
    for number, line in enumerate(lines):
        try:
            rows.append(_row(line))
        except (ValueError, RecursionError) as e:
            if number < len(lines) - 1:
                raise DepthrfError(f"{path}: line {number + 1} is damaged ({e}). Run: depthrf train --force") from e
    if not rows:
        raise UsageError(f"{path} holds no measurements yet. Wait until training has written the first.")
    return rows


def _row(line: bytes) -> dict[str, float]:
    """One measurement: numbers by name, some of which may not have been finite.

    Raises:
        ValueError: It is something else, or lacks what is drawn.
    """
    row = json.loads(line)
    if not isinstance(row, dict) or any(type(value) not in (int, float, type(None)) for value in row.values()):
        raise ValueError("expected an object of numbers")
    if missing := [name for name in _NOT_LOSSES if name not in row]:
        raise ValueError(f"it lacks {missing[0]}")
    return {name: _number(value) for name, value in row.items()}


def _number(value: float | None) -> float:
    """What cannot be drawn is not a number: null, infinity, integers beyond every float."""
    return value if value is not None and abs(value) < 1e300 else math.nan


def write_png(path: Path, runs: dict[str, list[dict[str, float]]]) -> None:
    """Writes the picture that :func:`draw` makes."""
    with atomic_path(path) as temporary:
        draw(runs).savefig(temporary)


def draw(runs: dict[str, list[dict[str, float]]]) -> Figure:
    """The curves of runs by name: PSNR and speed of all in one panel each, then one panel of losses per run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * (2 + len(runs)), 4.2), dpi=100)
    quality, speed, *losses = figure.subplots(1, 2 + len(runs))
    for name, rows in runs.items():
        steps = [row["step"] for row in rows]
        quality.plot(steps, [row["psnr"] for row in rows], label=name)
        speed.plot(steps, [row["rays_per_second"] / 1000.0 for row in rows], label=name)
    quality.set(title="PSNR of training batches", xlabel="step", ylabel="dB")
    speed.set(title="speed since the previous point", xlabel="step", ylabel="thousand rays per second")
    speed.set_ylim(bottom=0)
    for panel, (name, rows) in zip(losses, runs.items(), strict=True):
        for loss in (key for key in rows[-1] if key not in _NOT_LOSSES):
            drawn = [row for row in rows if row.get(loss, 0.0) > 0]  # the axis is logarithmic
            if drawn:
                panel.plot([row["step"] for row in drawn], [row[loss] for row in drawn], label=loss)
        panel.set(title=f"losses of {name}" if len(runs) > 1 else "weighted losses", xlabel="step", yscale="log")
        panel.legend(fontsize=8)
    if len(runs) > 1:
        quality.legend(fontsize=8)
    for panel in (quality, speed, *losses):
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
