"""Commands, options and calls as the program itself declares them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from html import escape
from typing import Any

import includes
import typer.main

import depthrf
from depthrf import options as declared
from depthrf.cli import app, flags, insight
from depthrf.pipeline import load_pipeline, presets
from depthrf.records import Record
from depthrf.stages.stage import EXTRA, STAGES


def commands() -> str:
    """A section for every command: how it is called, what it does, its arguments and options."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="depthrf")
    return "\n\n".join(_command(command, context, name) for command, name in _each(group))


def _each(group: Any, above: str = "") -> Iterator[tuple[Any, str]]:
    for name, command in group.commands.items():
        if members := getattr(command, "commands", None):
            yield command, above + name
            yield from ((member, f"{above}{name} {below}") for below, member in members.items())
        else:
            yield command, above + name


def _command(command: Any, context: Any, name: str) -> str:
    own = typer.Context(command, info_name=name, parent=context)
    parts = [f"## depthrf {name}", inspect.cleandoc(command.help or "").replace("\n\n", "\n\n")]
    if hasattr(command, "commands"):
        return "\n\n".join([*parts, "Its commands: " + ", ".join(f"`{below}`" for below in command.commands) + "."])
    usage = " ".join(command.collect_usage_pieces(own))
    parts.append(f"```\ndepthrf {name} {usage}\n```")
    sections: dict[str, list[str]] = {}
    for parameter in command.get_params(own):
        if (record := parameter.get_help_record(own)) is not None:
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            heading = getattr(parameter, "rich_help_panel", None) or kind
            sections.setdefault(heading, []).append(_row(_code(record[0]), escape(record[1])))
    for heading, rows in sections.items():
        parts.append(_stacked([f"| {heading} | |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def options() -> str:
    """A table for every stage: the options with default, what they may be and what they are for."""
    set_by = {path: [] for name in presets() for path in declared.leaves(load_pipeline(name))}
    for name in presets():
        for path in declared.leaves(load_pipeline(name)):
            set_by[path].append(name)
    parts = []
    for stage, module in (STAGES | EXTRA).items():
        help_text = module.HELP[0].upper() + module.HELP[1:]
        rows = ["| option | default | may be | for |", "|---|---|---|---|"]
        for row in insight.option_rows(stage):
            default = declared.as_text(row["default"]).replace("True", "yes").replace("False", "no")
            what = row["help"][0].upper() + row["help"][1:] + "."
            if row["option"] in set_by:
                what += f" Set by {', '.join(f'`{name}`' for name in set_by[row['option']])}."
            rows.append(_row(_code(row["option"]), _code(default), escape(insight.allowed(row)), escape(what)))
        parts.append(f"## {stage}\n\n{help_text}\n\n{_stacked(rows)}")
    return "\n\n".join(parts)


def environment() -> str:
    """The environment variables that stand for flags."""
    names = sorted([*flags.COMMON, "quiet", "verbose"])
    rows = [_row(_code(flags.environment(name)), _code(f"--{name.replace('_', '-')}")) for name in names]
    return "\n".join(["| variable | stands for |", "|---|---|", *rows])


def api() -> str:
    """Signatures and documentation of the calls that the package exports."""
    return "\n\n".join(_call(name) for name in ("reconstruct", "evaluate", "export"))


def _call(name: str) -> str:
    call = getattr(depthrf, name)
    signature = inspect.signature(call)
    lines = [f"    {parameter}," for parameter in signature.parameters.values()]
    named = [parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in signature.parameters.values()]
    lines.insert(named.index(True), "    *,")
    code = "\n".join([f"{name}(", *lines, f") -> {signature.return_annotation}"]).replace("'", "")
    return f"## {name}\n\n```python\n{code}\n```\n\n{_prose(inspect.getdoc(call) or '')}"


def _prose(docstring: str) -> str:
    """A docstring with ``Args:``, ``Returns:`` and ``Raises:`` as Markdown."""
    parts = []
    for block in docstring.replace("``", "`").split("\n\n"):
        heading, _, rest = block.partition(":\n")
        if heading not in ("Args", "Returns", "Raises"):
            parts.append(block)
        elif heading == "Returns":
            parts.append(f"**Returns** {' '.join(rest.split())}")
        else:
            items = re.sub(r"\n {5,}", " ", rest)  # lines that go on
            parts.append("\n".join([f"**{heading}**", "", *(_item(line) for line in items.splitlines())]))
    return "\n\n".join(parts)


def _item(line: str) -> str:
    name, _, what = line.strip().partition(": ")
    return f"- `{name}`: {what}"


def workspace(readme: str) -> str:
    """The README's listing of the workspace as a table; what it says below the listing stays."""
    listing, _, rest = includes.section(readme, "Workspace", "README.md").removeprefix("```\n").partition("\n```\n")
    rows = []
    for line in listing.splitlines():
        names, what = re.fullmatch(r"(.*\S)\s{2,}(\S.*)", line).groups()  # type: ignore[union-attr]
        rows.append(_row(" ".join(_code(name) for name in names.replace(",", "").split()), escape(what)))
    return "\n".join([_stacked(["| file | what it holds |", "|---|---|", *rows]), rest])


def records() -> str:
    """The fields of ``records/<stage>.json``."""
    fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(Record))
    return f"Its fields are {fields}."


def _stacked(rows: list[str]) -> str:
    """A table whose cells stand below one another where the page is narrow."""
    return "\n".join(['<div class="stacked" markdown>', "", *rows, "", "</div>"])


def _row(*cells: str) -> str:
    return f"| {' | '.join(' '.join(cell.split()) for cell in cells)} |"


def _code(text: str) -> str:
    """As code in a cell of a table, where a bar would end the cell."""
    return f"<code>{escape(text).replace('|', '&#124;')}</code>" if text else ""
