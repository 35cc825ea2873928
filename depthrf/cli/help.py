"""How the command line presents itself: commands and options under headings, and the flags that all commands have."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from depthrf import console
from depthrf.errors import UsageError

_COMMON = {
    "quiet": Annotated[
        bool,
        typer.Option("-q", "--quiet", envvar="DEPTHRF_QUIET", show_envvar=False, help="Only warnings and results."),
    ],
    "verbose": Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            envvar="DEPTHRF_VERBOSE",
            show_envvar=False,
            help="Also options that are not the defaults, the commands of other programs, and where an error arose.",
        ),
    ],
}


class GroupedHelp(TyperCommand):
    """Plain help text with the options under their headings, which typer has for rich text only."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
        _write(sections, formatter)


class GroupedCommands(TyperGroup):
    """The list of commands under their headings, each with its whole first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            sections.setdefault(heading, []).append((name, command.get_short_help_str(limit=1000)))
        _write(sections, formatter)


def _write(sections: dict[str, list[tuple[str, str]]], formatter: Any) -> None:
    for heading, records in sections.items():
        with formatter.section(heading):
            formatter.write_dl(records)


def with_common_flags(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the flags that every command has."""

    @functools.wraps(command)
    def run(*arguments: Any, quiet: bool, verbose: bool, **values: Any) -> None:
        if quiet and verbose:
            raise UsageError("Give --quiet or --verbose (or DEPTHRF_QUIET or DEPTHRF_VERBOSE), not both.")
        console.set_volume(quiet=quiet, verbose=verbose)
        command(*arguments, **values)

    own = inspect.signature(command, eval_str=True).parameters.values()
    common = [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=a) for n, a in _COMMON.items()
    ]
    run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    return run
