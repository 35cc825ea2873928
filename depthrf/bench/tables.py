"""Benchmark results as tables, the published numbers beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthrf import console
from depthrf.bench import published
from depthrf.bench.protocol import Result

if TYPE_CHECKING:
    from rich.table import Table


def print_results(scene: str, results: list[Result]) -> None:
    """The table of the results, and what must be known beside it: view ids, sizes, steps."""
    multi_scale = len(results[0].scores) > 1
    table = multi_scale_table(scene, results) if multi_scale else loss_table(scene, results)
    console.console().print(table)
    for line in notes(scene, results):
        console.note(f"  {line}")


def loss_table(scene: str, results: list[Result]) -> Table:
    """PSNR and SSIM by loss and number of views; the published PSNR of lego."""
    from rich.table import Table

    counts = list(dict.fromkeys(r.cell.views for r in results))
    titles = [title for n in counts for title in (f"{n} views", "SSIM", *(["published"] if scene == "lego" else []))]
    table = Table("depth loss", *titles, title=f"{scene}: PSNR in dB")
    for loss in dict.fromkeys(r.cell.loss for r in results):
        cells = []
        for count in counts:
            found = next(r for r in results if (r.cell.loss, r.cell.views) == (loss, count))
            cells += [f"{found.scores[0].psnr:.2f}", f"{found.scores[0].ssim:.3f}"]
            if scene == "lego":
                known = published.LEGO_PSNR.get(loss, {}).get(count)
                cells.append("-" if known is None else f"{known:.2f}")
        table.add_row(loss, *cells)
    return table


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
        table.add_row(trained, str(result.cell.views), result.cell.loss, *cells, f"{mean:.2f}")
    if scene == "lego" and len(sizes) == len(published.LEGO_MULTI_SCALE_PSNR):
        known = published.LEGO_MULTI_SCALE_PSNR
        table.add_section()
        table.add_row("publ. all", "100", "none", *(f"{v:.2f}" for v in known), f"{sum(known) / len(known):.2f}")
        alone = "{:.2f} {:.3f}".format(*published.LEGO_SINGLE_SCALE)
        table.add_row("publ. one", "100", "none", alone, *[""] * len(sizes))
    return table


def notes(scene: str, results: list[Result]) -> list[str]:
    """Under which settings the numbers hold."""
    first = results[0]
    settings = first.settings
    largest = max(results, key=lambda r: r.cell.views)
    names = largest.view_names
    listed = ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:3])} ... {names[-1]}"
    optimiser, field = settings["optimiser"], settings["model"]["field"]
    lines = [
        f"{field['kind']} field, {first.scores[0].size}x{first.scores[0].size}, {first.num_test} test views "
        f"(every {settings['test_every']}), {first.steps} steps of {optimiser['batch_rays']} pixels, seed "
        f"{settings['seed']}, {first.device}; training views {listed}",
        "rays in all: " + ", ".join(f"{r.cell.name} {r.num_rays / 1e6:.4g} million" for r in results),
    ]
    if scene == "lego":
        lines.append(
            f"published: {published.LEGO_PROTOCOL}"
            if len(first.scores) == 1
            else "published: 800 to 100 pixels, 300000 steps"
        )
    return lines
