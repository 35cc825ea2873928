"""Training curves: PSNR of the batches, each loss and the speed, by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from depthrf.errors import DepthrfError, UsageError
from depthrf.workspace import atomic_path

_NOT_LOSSES = ("step", "seconds", "rays_per_second", "psnr")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; one that a kill cut off at the end is left out.

    Raises:
        UsageError: There is no such file, or it has no row.
        DepthrfError: Another line is damaged.
    """
    if not path.is_file():
        raise UsageError(f"{path} is missing: nothing has been trained here. Run: depthrf train {path.parents[1]}")
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines):
        try:
            rows.append(json.loads(line))
        except ValueError as e:
            if number < len(lines) - 1:
                raise DepthrfError(f"{path}: line {number + 1} is damaged ({e}). Run: depthrf train --force") from e
    if not rows:
        raise UsageError(f"{path} holds no measurement yet; wait for the training's first ones.")
    return rows


def write_png(path: Path, runs: dict[str, list[dict[str, Any]]]) -> None:
    """One line a run in the panels of PSNR and speed; a panel of losses for each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * (2 + len(runs)), 4.2), dpi=100)
    axes = figure.subplots(1, 2 + len(runs))
    for name, rows in runs.items():
        steps = [row["step"] for row in rows]
        axes[0].plot(steps, [row["psnr"] for row in rows], label=name)
        axes[1].plot(steps, [row["rays_per_second"] / 1000.0 for row in rows], label=name)
    axes[0].set(title="PSNR of training batches", xlabel="step", ylabel="dB")
    axes[1].set(title="speed, mean so far", xlabel="step", ylabel="thousand rays per second")
    axes[1].set_ylim(bottom=0)
    for panel, (name, rows) in zip(axes[2:], runs.items(), strict=True):
        for loss in (key for key in rows[-1] if key not in _NOT_LOSSES):
            points = [(row["step"], row[loss]) for row in rows if (row.get(loss) or 0) > 0]
            if points:
                panel.plot(*zip(*points, strict=True), label=loss)
        panel.set(title=f"losses of {name}" if len(runs) > 1 else "weighted losses", xlabel="step", yscale="log")
        panel.legend(fontsize=8)
    if len(runs) > 1:
        axes[0].legend(fontsize=8)
    for panel in axes:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
