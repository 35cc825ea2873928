"""Scores on LLFF scenes as a table beside the published means."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.bench import published
from depthrf.bench.llff_protocol import Result

if TYPE_CHECKING:
    from rich.table import Table

_ALL_SCENES = 8


def print_results(results: list[Result]) -> None:
    """Prints the table, and below it what its numbers hold for."""
    console.console().print(table(results))
    for line in notes(results):
        console.note(f"  {line}")


def table(results: list[Result]) -> Table:
    """PSNR and SSIM of each scene and loss by number of photos, their means, and the published means."""
    from rich.table import Table

    counts, losses, names = (
        list(dict.fromkeys(getattr(r.cell, field) for r in results)) for field in ("views", "loss", "scene")
    )
    titles = [title for n in counts for title in (f"{n} photos", "SSIM")]
    shown = Table("scene", "depth loss", *titles, title="LLFF: PSNR in dB")
    for name in names:
        for loss in losses:
            cells = [c for n in counts for c in _cells(results, name, loss, n)]
            shown.add_row(console.cell(name), loss, *cells)
    shown.add_section()
    if len(names) > 1:
        for loss in losses:
            shown.add_row(f"mean of {len(names)}", loss, *(c for n in counts for c in _means(results, loss, n)))
    for method, by_count in published.LLFF_PSNR.items():
        known = (by_count.get(n) for n in counts)
        cells = [cell for psnr in known for cell in ("-" if psnr is None else f"{psnr:.2f}", "")]
        shown.add_row(f"published mean of {_ALL_SCENES}", method, *cells)
    return shown


def notes(results: list[Result]) -> list[str]:
    """What the numbers hold for."""
    stages = results[0].settings["stages"]
    optimiser = stages["train"]["optimiser"]
    sources = " and ".join(dict.fromkeys(s for r in results for s in r.depth_sources)) or "none"
    lines = [
        f"photos of {results[0].settings['size']} pixels, poses given, every 8th photo held out; "
        f"{optimiser['steps']} steps of {optimiser['batch_rays']} pixels, seed {stages['train']['seed']}",
        f"depth prior, of the training photos alone: {sources}",
    ]
    return lines + [f"{r.cell.name} has no scores: {r.failed}" for r in results if r.failed]


def _cells(results: list[Result], scene: str, loss: str, views: int) -> tuple[str, str]:
    cell = next(r for r in results if (r.cell.scene, r.cell.loss, r.cell.views) == (scene, loss, views))
    return ("-", "-") if cell.psnr is None or cell.ssim is None else (f"{cell.psnr:.2f}", f"{cell.ssim:.3f}")


def _means(results: list[Result], loss: str, views: int) -> tuple[str, str]:
    """Means over all scenes; dashes where one has no scores, because the others' mean would flatter."""
    found = [r for r in results if (r.cell.loss, r.cell.views) == (loss, views)]
    psnr, ssim = [r.psnr for r in found if r.psnr is not None], [r.ssim for r in found if r.ssim is not None]
    if len(psnr) < len(found):
        return "-", "-"
    return f"{statistics.fmean(psnr):.2f}", f"{statistics.fmean(ssim):.3f}"
