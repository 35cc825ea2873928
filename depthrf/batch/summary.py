"""``batch.json`` and the table at the end of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from depthrf.batch.running import Outcome
from depthrf.storage import write_json

HEADING = ("scene", "placed", "PSNR", "minutes", "verdict", "")


def write_summary(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Writes everything that is known of each scene, for scripts."""
    write_json(path, {"scenes": [asdict(outcome) for outcome in sorted(outcomes, key=lambda o: o.name)]})


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """The rows of the table, by name."""
    found: list[tuple[str, ...]] = []
    for o in sorted(outcomes, key=lambda o: o.name):
        placed = "" if o.placed is None else f"{o.placed} of {o.photos}"
        psnr = "" if o.psnr is None else f"{o.psnr:.2f} dB"
        found.append((o.name, placed, psnr, f"{o.minutes:.1f}", o.verdict, o.message))
    return found


def sentence(outcomes: Sequence[Outcome]) -> str:
    """How many scenes came to what: ``12 scenes: 11 done, 1 refused``."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    parts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("done", "refused", "died") if counts[verdict])
    return f"{len(outcomes)} scene{'s' if len(outcomes) != 1 else ''}: {parts}"
