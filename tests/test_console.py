"""What is printed cannot steer the terminal, whatever files and fields are called."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from depthrf import console

pytestmark = pytest.mark.hostile

STEERS = {
    "red \x1b[31m": r"red \x1b[31m",
    "title \x1b]0;owned\x07": r"title \x1b]0;owned\x07",
    "two\nlines\r": r"two\nlines\r",
    "c1 \x9b31m": r"c1 \x9b31m",
    "turned \u202egpj.exe": r"turned \u202egpj.exe",
    "line \u2028 break": r"line \u2028 break",
    "not utf-8 \udcff": r"not utf-8 \udcff",
}
PLAIN = ["Küche 日本 été.jpg", "a[bold]b[/].png", r"back\slash", "👨\u200d👩\u200d👧 family.jpg", ""]


@pytest.mark.parametrize(("text", "shown"), STEERS.items(), ids=list(STEERS.values()))
def test_what_steers_a_terminal_is_escaped(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert console.printable(text) == shown
    console.note(text)
    console.warn(text)
    console.error(text)
    printed = capsys.readouterr().err
    assert printed.split() == [*shown.split(), "warning:", *shown.split(), "error:", *shown.split()]


@pytest.mark.parametrize("text", PLAIN)
def test_names_in_any_language_stay(text: str) -> None:
    assert console.printable(text) == text


def test_colons_in_names_are_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    console.note("a:v:0.jpg")
    console.warn(":smile:")
    assert capsys.readouterr().err.split() == ["a:v:0.jpg", "warning:", ":smile:"]


def test_cells_of_tables_are_neither_markup_nor_escape_sequences() -> None:
    table = Table(box=None, show_header=False)
    table.add_row(console.cell("a[bold]b \x1b[31m"))
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=True).print(table)
    assert out.getvalue().strip() == r"a[bold]b \x1b[31m"


def test_a_path_goes_to_a_script_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "odd \udcff\x1b[31m"
    code = f"from depthrf import cli, console; cli.allow_any_name(); console.result({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == str(folder).encode("utf-8", "surrogateescape") + b"\n"


def test_durations_as_people_say_them() -> None:
    spoken = {4.21: "4.2 s", 59.97: "1 min 00 s", 119.7: "2 min 00 s", 372: "6 min 12 s", 3900: "1 h 05 min"}
    assert {seconds: console.duration(seconds) for seconds in spoken} == spoken
