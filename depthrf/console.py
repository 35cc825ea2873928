"""Terminal output: one shared rich console, progress bars with an ETA, and notes and warnings in one style."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from depthrf.distributed import is_first

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

T = TypeVar("T")


@cache
def console() -> Console:
    """The console all messages go to (stderr: stdout is left to results)."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """One line that tells what is going on."""
    if is_first():
        console().print(message, markup=False)


def warn(message: str) -> None:
    """One line about something the user should know; the run goes on."""
    from rich.text import Text

    console().print(Text.assemble(("warning: ", "bold yellow"), message))


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

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[info]}"),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(), transient=False, disable=not is_first()) as display:
        yield display


@contextmanager
def stepwise() -> Iterator[Callable[[str, int, int], None]]:
    """A progress display that is told (what, done, total) and has one line per kind of work."""
    with progress() as display:
        tasks: dict[str, TaskID] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = display.add_task(what, total=total, info="")
            display.update(tasks[what], completed=done, total=total)

        yield update


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterates ``items`` under a progress bar."""
    with progress() as display:
        task = display.add_task(description, total=total if total is not None else len(items), info="")  # type: ignore[arg-type]
        for item in items:
            yield item
            display.advance(task)
