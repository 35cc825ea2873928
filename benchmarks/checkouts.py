"""Runs a function of a benchmark in two checkouts in turns, each time in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

HERE = Path(__file__).resolve().parents[1]


def run_in(checkout: Path, file: Path, function: str, *arguments: object) -> str:
    """What ``function`` of ``file``, called with the arguments as text, prints with the checkout's depthrf."""
    # By its path, because an older checkout may not have this file.
    code = "import runpy, sys; file, function, *arguments = sys.argv[1:]; runpy.run_path(file)[function](*arguments)"
    command = [sys.executable, "-c", code, str(file), function, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, env=environment, cwd=checkout, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def parser_of(description: str | None, *, max_side: int) -> argparse.ArgumentParser:
    """What the command lines of such benchmarks have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--before", type=Path, required=True, help="checkout to compare with")
    parser.add_argument("--max-side", type=int, default=max_side)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the table here")
    return parser


def in_turns(asked: argparse.Namespace, measure: Callable[[Path], T]) -> dict[str, list[T]]:
    """What ``measure`` finds in the checkout to compare with (before) and in this one (after), round by round."""
    checkouts = {"before": asked.before, "after": HERE}
    found: dict[str, list[T]] = {name: [] for name in checkouts}
    for _ in range(asked.rounds):
        for name, checkout in checkouts.items():
            found[name].append(measure(checkout))
    return found


def tell(asked: argparse.Namespace, row: dict[str, Any]) -> None:
    """Prints the row of figures, and writes it where ``--json`` says."""
    for key, value in row.items():
        print(f"{key:36} {value}")
    if asked.json:
        asked.json.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
