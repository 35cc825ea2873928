"""Benchmark results as tables beside the published numbers."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.bench import published
from depthrf.bench.protocol import Result

if TYPE_CHECKING:
    from rich.table import Table


def print_results(scene: str, results: list[Result]) -> None:
    """Prints the table, and below it the settings that its numbers hold for."""
    multi_scale = len(results[0].scores) > 1
    table = multi_scale_table(scene, results) if multi_scale else loss_table(scene, results)
    console.console().print(table)
    for line in notes(scene, results):
        console.note(f"  {line}")


def loss_table(scene: str, results: list[Result]) -> Table:
    """PSNR and SSIM by loss and set of views, and what each loss gains over none; the published PSNR of lego.

    Where a set is drawn at random, means over the draws with their standard deviation.
    """
    from rich.table import Table

    groups, losses = (list(dict.fromkeys(getattr(r.cell, name) for r in results)) for name in ("group", "loss"))
    lego = scene == "lego"
    titles = [t for g in groups for t in (_title(g), "SSIM", *(["published"] if lego else []))]
    table = Table("depth loss", *titles, title=f"{scene}: PSNR in dB")
    for loss in losses:
        cells = []
        for group in groups:
            scores = {r.cell.views: r.scores[0] for r in results if (r.cell.loss, r.cell.group) == (loss, group)}
            cells += [_spread([s.psnr for s in scores.values()]), f"{_mean([s.ssim for s in scores.values()]):.3f}"]
            cells += [_known(published.lego_psnr(loss, group))] if lego else []
        table.add_row(loss, *cells)
    if "none" in losses:
        table.add_section()
        for loss in losses:
            if loss != "none":
                table.add_row(f"{loss} - none", *(c for g in groups for c in _gain(results, loss, g, lego=lego)))
    for group in groups if lego else ():
        for method, psnr in published.LEGO_OTHERS.get(group, {}).items():
            cells = [cell for g in groups for cell in ("", "", _known(psnr) if g == group else "")]
            table.add_row(f"{method}, without depth", *cells)
    return table


def _gain(results: list[Result], loss: str, group: str, *, lego: bool) -> list[str]:
    """Over the loss ``none`` on the same views: cells for the gain in dB, SSIM (nothing) and the published gain."""
    psnr = {(r.cell.loss, r.cell.views): r.scores[0].psnr for r in results if r.cell.group == group}
    gains = [value - psnr["none", views] for (name, views), value in psnr.items() if name == loss]
    with_depth, without = (published.lego_psnr(name, group) for name in (loss, "none"))
    known = None if with_depth is None or without is None else with_depth - without
    return [_spread(gains, sign="+"), "", *([_known(known, sign="+")] if lego else [])]


def _title(group: str) -> str:
    return f"{group} views" if group.isdigit() else group


def _mean(values: list[float]) -> float:
    return statistics.fmean(values)


def _spread(values: list[float], sign: str = "") -> str:
    """The mean, and the standard deviation of several."""
    mean = f"{_mean(values):{sign}.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def _known(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2f}"


def _rays(results: list[Result]) -> dict[str, int]:
    """Training rays by cell; those of one draw stand for all draws, which have as many."""
    by_group = {f"{r.cell.group}-{r.cell.loss}{'-multi' if r.cell.training == 'multi' else ''}": r for r in results}
    return {name: result.num_rays for name, result in by_group.items()}


def multi_scale_table(scene: str, results: list[Result]) -> Table:
    """PSNR and SSIM at each size and their mean; the published rows of lego."""
    from rich.table import Table

    sizes = [s.size for s in results[0].scores]
    table = Table(
        "trained on", "views", "loss", *(f"{s} px" for s in sizes), "mean", title=f"{scene}: PSNR in dB, SSIM"
    )
    for result in results:
        trained = "all" if result.cell.training == "multi" else f"{sizes[0]} px"
        cells = [f"{s.psnr:.2f} {s.ssim:.3f}" for s in result.scores]
        mean = sum(s.psnr for s in result.scores) / len(sizes)
        table.add_row(trained, result.cell.views, result.cell.loss, *cells, f"{mean:.2f}")
    if scene == "lego" and len(sizes) == len(published.LEGO_MULTI_SCALE_PSNR):
        known = published.LEGO_MULTI_SCALE_PSNR
        table.add_section()
        table.add_row("publ. all", "100", "none", *(f"{v:.2f}" for v in known), f"{sum(known) / len(known):.2f}")
        alone = "{:.2f} {:.3f}".format(*published.LEGO_SINGLE_SCALE)
        table.add_row("publ. one", "100", "none", alone, *[""] * len(sizes))
    return table


def notes(scene: str, results: list[Result]) -> list[str]:
    """The settings that the numbers hold for: views, sizes, steps, protocol."""
    first = results[0]
    settings = first.settings
    names = max(results, key=lambda r: len(r.view_names)).view_names
    listed = ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:3])} ... {names[-1]}"
    optimiser, field = settings["optimiser"], settings["model"]["field"]
    lines = [
        f"{field['kind']} field, {first.scores[0].size}x{first.scores[0].size}, {first.num_test} test views "
        f"(every {settings['test_every']}), {first.steps} steps of {optimiser['batch_rays']} pixels, seed "
        f"{settings['seed']}, {first.device}; training views {listed}",
        "rays in all: " + ", ".join(f"{name} {rays / 1e6:.4g} million" for name, rays in _rays(results).items()),
    ]
    if scene == "lego":
        lines += [f"published: {protocol}" for protocol in _protocols(results)]
    return lines


def _protocols(results: list[Result]) -> list[str]:
    """Of the published numbers that the table shows."""
    if len(results[0].scores) > 1:
        return [published.LEGO_MULTI_SCALE_PROTOCOL]
    groups = dict.fromkeys(r.cell.group for r in results)
    shown = any(published.lego_psnr(r.cell.loss, r.cell.group) is not None for r in results)
    return [published.LEGO_PROTOCOL] * shown + [
        f"{group}: {published.LEGO_OTHERS_PROTOCOL[group]}" for group in groups if group in published.LEGO_OTHERS
    ]
