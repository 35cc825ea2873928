"""What the parts of the GPU benchmark have measured, on disk and as one table of the page of results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from depthrf.storage import read_json, write_json

_COLUMNS = ("part", "case", "measured", "target", "met", "published", "seconds")
_UNFINISHED = {"stopped": "not finished", "failed": "failed", "running": "not finished"}


@dataclass
class Measured:
    """The record of a part, OUT/parts/PART.json.

    ``state``: new, running, done, failed or stopped. ``rows``: fields of :class:`gpu_request.Row` with commit, date and
    hardware, so that rows of several runs can stand in one table.
    """

    path: Path
    settings: dict[str, Any]
    state: str = "new"
    error: str = ""
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)

    @staticmethod
    def load(out: Path, name: str, settings: dict[str, Any]) -> Measured:
        """The record of these settings; a new one where there is none or it is of others."""
        path = out / "parts" / f"{name}.json"
        if path.is_file():
            found = read_json(path)
            if found["settings"] == settings:
                return Measured(path, **found)
        return Measured(path, settings)

    def save(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        write_json(self.path, {k: v for k, v in asdict(self).items() if k != "path"})


def table(out: Path, names: Iterable[str]) -> dict[str, Any]:
    """All that was measured of the named parts, in the format of ``results.py``."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    quick = False
    for name in names:
        path = out / "parts" / f"{name}.json"
        if not path.is_file():
            notes.append(f"{name}: not measured.")
            continue
        found = read_json(path)
        quick |= found["settings"]["quick"]
        for row in found["rows"]:
            met = {True: "yes", False: "**no**", None: ""}[row["met"]]
            values = {**{k: row[k] for k in ("case", "measured", "target", "published", "seconds")}, "met": met}
            origin = {k: row[k] for k in ("commit", "date", "hardware")}
            rows.append({"values": {"part": name, **values}, **origin})
        if found["state"] in _UNFINISHED:
            # the first line of a long message is enough here, the rest is in the log
            why = found["error"].partition("\n")[0]
            notes.append(f"{name}: {_UNFINISHED[found['state']]}{f' ({why})' if why else ''}.")
    return {
        "order": 70,
        "title": "On a GPU" + (": toy sizes, these numbers mean nothing" if quick else ""),
        "command": "python -m benchmarks.gpu --lego DIR --workspace WORKSPACE",
        "columns": list(_COLUMNS),
        "key": ["part", "case"],
        "rows": rows,
        "notes": [
            "Seconds: training / scoring. The lego targets are those of loss cdf; published: 400x400, 200 test views, "
            "50000 steps of 8192 rays with the published network.",
            *notes,
        ],
    }


def save_table(out: Path, names: Iterable[str]) -> dict[str, Any]:
    """Writes OUT/gpu.json and returns it."""
    found = table(out, names)
    write_json(out / "gpu.json", found)
    return found


def show(found: dict[str, Any]) -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    hardware = "; ".join(dict.fromkeys(row["hardware"] for row in found["rows"]))
    shown = Table(*found["columns"], title=f"{found['title']}. {hardware}")
    for row in found["rows"]:
        shown.add_row(*(str(row["values"][c]) for c in found["columns"]))
    # Wide enough where the output is no terminal, which would otherwise be taken for 80 columns.
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(width=180, highlight=False, markup=False)
    console.print(shown)
    for note in found["notes"]:
        console.print(f"- {note}")
