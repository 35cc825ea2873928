"""Terminal output: one shared rich console, progress bars with an ETA, and messages in one style.

Names of files and fields come from others, and a terminal obeys escape sequences in them. So what is printed goes
through :func:`printable`, here and nowhere else.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from depthrf.distributed import is_first

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

T = TypeVar("T")

_quiet = _verbose = False


def set_volume(*, quiet: bool = False, verbose: bool = False) -> None:
    """Says how much is shown. Warnings, errors and results always are; notes and progress unless ``quiet``; details
    only if ``verbose``."""
    global _quiet, _verbose
    _quiet, _verbose = quiet, verbose


def is_verbose() -> bool:
    """Whether details are shown."""
    return _verbose


@cache
def console() -> Console:
    """The console all messages go to (stderr: stdout is left to results)."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def printable(text: str) -> str:
    """The text with every character that steers a terminal escaped, as Python writes it: ``\\x1b`` for an escape.

    These are control characters, line separators, marks that turn the direction of writing, and what stands for the
    bytes of file names that are not UTF-8.
    """
    return "".join(c if c.isascii() and c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    steers = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    turns = unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return character.encode("unicode_escape").decode("ascii") if steers or turns else character


def duration(seconds: float) -> str:
    """As people say it: ``4.2 s``, ``6 min 12 s``, ``1 h 05 min``."""
    if seconds < 59.95:  # rounds to less than a minute
        return f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {whole:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def cell(text: str) -> str:
    """A text for a table, which would take ``[...]`` for markup."""
    from rich.markup import escape

    return escape(printable(text))


def note(message: str) -> None:
    """One line that tells what is going on."""
    if is_first() and not _quiet:
        console().print(printable(message), markup=False)


def detail(message: str) -> None:
    """One line for those who want to know how something was done, or why it went wrong."""
    if is_first() and _verbose:
        console().print(printable(message), markup=False, style="dim")


def warn(message: str) -> None:
    """One line about something the user should know; the run goes on."""
    _print("warning: ", "bold yellow", message)


def error(message: str) -> None:
    """One line that tells why the run ends."""
    _print("error: ", "bold red", message)


def result(text: object) -> None:
    """One line on stdout; to a script it goes as it is, for a path must stay one."""
    print(printable(str(text)) if sys.stdout.isatty() else str(text))


def _print(kind: str, style: str, message: str) -> None:
    from rich.text import Text

    console().print(Text.assemble((kind, style), printable(message)))


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress display with bar, count, extra text (task field ``info``) and ETA."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    on_terminal = console().is_terminal  # elsewhere one line is left at the end, which needs no bar
    columns = (
        TextColumn("  {task.description}"),
        *([BarColumn(bar_width=24)] if on_terminal else []),
        MofNCompleteColumn(),
        TextColumn("{task.fields[info]}"),
        TimeElapsedColumn(),
        *([TextColumn("eta"), TimeRemainingColumn()] if on_terminal else []),
    )
    with Progress(*columns, console=console(), transient=False, disable=_quiet or not is_first()) as display:
        yield display


@contextmanager
def stepwise() -> Iterator[Callable[[str, int, int], None]]:
    """A progress display with one line for each kind of work, updated by calls of (what, done, total)."""
    with progress() as display:
        tasks: dict[str, TaskID] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = display.add_task(cell(what), total=total, info="")
            display.update(tasks[what], completed=done, total=total)

        yield update


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterates ``items`` under a progress bar."""
    with progress() as display:
        task = display.add_task(description, total=total if total is not None else len(items), info="")  # type: ignore[arg-type]
        for item in items:
            yield item
            display.advance(task)
