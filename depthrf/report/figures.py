"""Figures as inline SVG: they need no script, scale with the page and take their colours from its style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from depthrf import console
from depthrf.report.facts import PairMatches, Sample, StageCost

_WIDTH = 720
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 36


@dataclass(frozen=True)
class _Axis:
    """Maps values from ``low`` to ``high`` to pixels from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / ((self.high - self.low) or 1.0) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values inside the range."""
        rough = (self.high - self.low or 1.0) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(f * power for f in (1.0, 2.0, 5.0, 10.0) if f * power >= rough)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def training_curve(samples: Sequence[Sample]) -> str:
    """PSNR of the training batches by step."""
    steps = [s.step for s in samples]
    psnr = [s.psnr for s in samples]
    margin = 0.05 * (max(psnr) - min(psnr) or 1.0)
    return _lines(steps, {"PSNR": psnr}, (min(psnr) - margin, max(psnr) + margin), "step", "dB", "PSNR of batches")


def trust_along_path(trust: Sequence[tuple[float, float, float]]) -> str:
    """Stacked shares of each frame's pixels that two photos or more, one photo, and no photo saw."""
    height = 200
    x = _Axis(0, max(len(trust) - 1, 1), _LEFT, _WIDTH - _RIGHT)
    y = _Axis(0, 1, height - _BOTTOM, _TOP)
    shares = np.asarray(trust, dtype=np.float64).reshape(-1, 3)
    edges = np.concatenate([np.zeros((len(shares), 1)), np.cumsum(shares, axis=1)], axis=1)
    parts = []
    for index, name in enumerate(("two", "one", "none")):
        low = [f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(edges[:, index])]
        high = [f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(edges[:, index + 1])]
        parts.append(f'<polygon class="trust-{name}" points="{" ".join(low + high[::-1])}"/>')
    axes = _axes(x, y, height, "frame", "share of pixels", percent=True)
    return _svg(_WIDTH, height, "Share of each frame that photos saw", axes + "".join(parts))


def stage_bars(stages: Sequence[StageCost]) -> str:
    """Seconds of each stage, with the peak memory where it was measured."""
    row = 26
    height = row * len(stages) + 8
    longest = max((s.seconds for s in stages), default=1.0) or 1.0
    bar = _Axis(0, longest, 90, _WIDTH - 190)
    parts = []
    for index, stage in enumerate(stages):
        y = 4 + index * row
        memory = "" if stage.peak_memory_mb is None else f", {stage.peak_memory_mb / 1000:.1f} GB"
        text = f"{console.duration(stage.seconds)}{memory}"
        parts.append(
            f'<text x="82" y="{y + 16}" text-anchor="end">{escape(stage.stage)}</text>'
            f'<rect class="bar" x="90" y="{y + 3}" height="{row - 8}" width="{max(bar(stage.seconds) - 90, 1):.1f}"/>'
            f'<text class="soft" x="{max(bar(stage.seconds), 91) + 8:.1f}" y="{y + 16}">{text}</text>'
        )
    return _svg(_WIDTH, height, "Time of each stage", "".join(parts))


def pair_graph(positions: Mapping[str, NDArray[np.float64]], pairs: Sequence[PairMatches]) -> str:
    """Photos seen from above, and lines between those that share matches, the thicker the more.

    Args:
        positions: (2,) of each photo on the ground plane, scene units.
        pairs: Verified matches; pairs of photos without a position are left out.
    """
    if not positions:
        return ""
    points = _along_longest(np.stack(list(positions.values())))
    low, high = points.min(axis=0), points.max(axis=0)
    extent = np.maximum(high - low, 1e-9)
    scale = min((_WIDTH - 120) / extent[0], 340 / extent[1])
    height = round(max(extent[1] * scale + 80, 120))
    middle = 0.5 * (low + high)
    places = [(_WIDTH / 2 + float(x), height / 2 - float(y)) for x, y in (points - middle) * scale]
    place = dict(zip(positions, places, strict=True))
    known = [p for p in pairs if p.first in positions and p.second in positions]
    most = max((p.count for p in known), default=1)
    parts = []
    for pair in sorted(known, key=lambda p: p.count):
        (x0, y0), (x1, y1) = place[pair.first], place[pair.second]
        strength = math.sqrt(pair.count / most)
        parts.append(
            f'<line class="pair" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" '
            f'stroke-width="{0.3 + 3 * strength:.2f}" opacity="{0.15 + 0.6 * strength:.2f}">'
            f"<title>{escape(pair.first)} and {escape(pair.second)}: {pair.count} matches</title></line>"
        )
    for index, name in enumerate(positions):
        x, y = place[name]
        parts.append(
            f'<circle class="node" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{escape(name)}</title></circle>'
            f'<text class="small" x="{x + 8:.1f}" y="{y - 6:.1f}">{index + 1}</text>'
        )
    return _svg(_WIDTH, height, "Photos from above, and the matches between them", "".join(parts))


def _along_longest(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 2) turned so that they extend most from left to right."""
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=True)
    turned: NDArray[np.float64] = centred @ axes.T
    # An axis has no sign of its own: a mirrored map would show left turns as right ones.
    turned[:, 1] *= np.sign(np.linalg.det(axes))
    return turned


def _lines(
    xs: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    bounds: tuple[float, float],
    x_label: str,
    y_label: str,
    title: str,
) -> str:
    height = 240
    x = _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT)
    y = _Axis(*bounds, height - _BOTTOM, _TOP)
    parts = []
    for values in curves.values():
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, values, strict=True))
        parts.append(f'<polyline class="curve" points="{points}"/>')
    return _svg(_WIDTH, height, title, _axes(x, y, height, x_label, y_label) + "".join(parts))


def _axes(x: _Axis, y: _Axis, height: int, x_label: str, y_label: str, *, percent: bool = False) -> str:
    parts = []
    for value in y.ticks():
        text = f"{value:.0%}" if percent else f"{value:g}"
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text class="small" x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{text}</text>'
        )
    for value in x.ticks(8):
        parts.append(
            f'<text class="small" x="{x(value):.1f}" y="{height - _BOTTOM + 16}" text-anchor="middle">{value:g}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="small" x="{middle}" y="{height - 4}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(
        f'<text class="small" transform="translate(12 {(height - _BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    return "".join(parts)


def _svg(width: int, height: int, title: str, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>{content}</svg>'
    )
