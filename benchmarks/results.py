"""The page of results, RESULTS.md, made from the tables in benchmarks/results/*.json.

    python -m benchmarks.results            writes the page
    python -m benchmarks.results --check    tells whether it is up to date

One JSON file is one table:

    order, title    where on the page, ascending, and its heading
    command         what made the numbers; SET or DIR stand for what differs between rows; empty where nothing was run
    columns         names of the columns, as shown
    key             those columns that together tell one row from all others
    rows            {values: {column: text or number}} with commit, date and hardware where measured here, and with
                    source where the numbers are another program's or a paper's
    notes           sentences below the table

A table holds the newest measurement of each row. :func:`take_in` puts new rows in the place of old ones, which go to
benchmarks/history/*.json. ``python -m benchmarks.intake`` makes rows of what the benchmarks write.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS, HISTORY = HERE / "results", HERE / "history"
PAGE = HERE / "RESULTS.md"
_HEAD = """\
# Results

Made by `python -m benchmarks.results` from [results/](results); do not edit. Each row is the newest measurement; older
ones are in [history/](history), and what was learnt is in [NOTES.md](NOTES.md). A dash: not measured. PSNR is in dB;
"exposure fitted" is PSNR after one gain per colour channel. Data: the fox of instant-ngp, the red kitchen of
7-Scenes, lego of nerf_synthetic; `demo` is made by `depthrf demo`. LPIPS is not measured, for want of its weights.
"""
_KEYS = {"order", "title", "command", "columns", "key", "rows", "notes"}
_ROW_KEYS = {"values", "source", "commit", "date", "hardware"}

Table = dict[str, Any]
Row = dict[str, Any]


def page() -> str:
    """The whole page."""
    tables = sorted((read(path) for path in RESULTS.glob("*.json")), key=lambda table: table["order"])
    return "\n".join([_HEAD, *(section(table) for table in tables)])


def read(path: Path) -> Table:
    """A table, checked.

    Raises:
        ValueError: A key or column is unknown or missing, or two rows have the same key; the message names the file.
    """
    table: Table = json.loads(path.read_text(encoding="utf-8"))
    _check(table, path)
    return table


def _check(table: Table, path: Path) -> None:
    if table.keys() != _KEYS:
        raise ValueError(f"{path}: unknown or missing keys {sorted(table.keys() ^ _KEYS)}")
    columns = set(table["columns"])
    if unknown := set(table["key"]) - columns:
        raise ValueError(f"{path}: the key has no such columns: {sorted(unknown)}")
    seen = set()
    for row in table["rows"]:
        if unknown := row.keys() - _ROW_KEYS:
            raise ValueError(f"{path}: unknown keys in a row: {sorted(unknown)}")
        if "source" not in row and not row.keys() >= {"commit", "date", "hardware"}:
            raise ValueError(f"{path}: a row has neither a source nor commit, date and hardware: {row['values']}")
        if unknown := row["values"].keys() - columns:
            raise ValueError(f"{path}: no such columns: {sorted(unknown)}")
        if _key(table, row) in seen:
            raise ValueError(f"{path}: two rows of {_key(table, row)}")
        seen.add(_key(table, row))


def take_in(name: str, rows: Iterable[Row], *, new: Table | None = None) -> None:
    """Puts rows into ``results/<name>.json``; those with the same key that they replace go to the history.

    Args:
        name: Of the table.
        rows: Of this table's columns.
        new: The table without rows, for when there is none yet.

    Raises:
        ValueError: A row has other columns than the table.
    """
    path = RESULTS / f"{name}.json"
    if new is not None and not path.is_file():
        _write(path, new)
    table = read(path)
    incoming = {_key(table, row): row for row in rows}
    replaced = [row for row in table["rows"] if incoming.get(_key(table, row), row) != row]
    kept = [incoming.pop(_key(table, row), row) for row in table["rows"]]
    changed = {**table, "rows": [*kept, *incoming.values()]}
    _check(changed, path)
    _write(path, changed)
    if replaced:
        older = HISTORY / path.name
        history = json.loads(older.read_text(encoding="utf-8")) if older.is_file() else {"title": table["title"]}
        _write(older, {**history, "rows": [*history.get("rows", []), *replaced]})


def _key(table: Table, row: Row) -> tuple[str, ...]:
    return tuple(str(row["values"].get(column)) for column in table["key"])


def _write(path: Path, table: Table) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def section(table: Table) -> str:
    """One table with its command, hardware and notes, as Markdown."""
    columns = table["columns"]
    machines = list(dict.fromkeys(row["hardware"] for row in table["rows"] if "hardware" in row))
    lines = [f"## {table['title']}", ""]
    lines += [_line([*columns, "origin"]), "|" + "---|" * (len(columns) + 1)]
    above: list[str] = []
    for row in table["rows"]:
        cells = [str(row["values"].get(column, "–")) for column in columns]
        lines.append(_line([*_without_repeats(cells, above, len(table["key"]) - 1), _origin(row, machines)]))
        above = cells
    made = f"`{table['command']}`"
    if machines:
        made += " on " + "; ".join(_mark(index, machines) + machine for index, machine in enumerate(machines))
    notes = [f"{made}.", *table["notes"]] if table["command"] else table["notes"]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def _without_repeats(cells: list[str], above: list[str], columns: int) -> list[str]:
    """Of the first ``columns`` cells, those that say again what stands above them become empty."""
    shown = list(cells)
    for i in range(columns):
        if cells[: i + 1] == above[: i + 1]:
            shown[i] = ""
    return shown


def _origin(row: Row, machines: list[str]) -> str:
    parts = [row[key] for key in ("source", "commit", "date") if key in row]
    mark = _mark(machines.index(row["hardware"]), machines) if "hardware" in row else ""
    return f"{', '.join(parts)} {mark}".strip()


def _mark(index: int, machines: list[str]) -> str:
    return "" if len(machines) == 1 else f"({'abcdefgh'[index]}) "


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def origin(device: str) -> dict[str, str]:
    """Commit, day and hardware: what stands with every number that is measured here."""
    return {"commit": _commit(), "date": f"{datetime.now(UTC):%Y-%m-%d}", "hardware": _hardware(device)}


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown commit"


def _hardware(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} CPU cores ({name}), no GPU"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only tell whether the page is up to date")
    if parser.parse_args().check:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is not what results/ says")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
