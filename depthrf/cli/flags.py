"""Options dataclasses as command-line flags: type, choices, default and help text come from the fields' declarations.

A flag is named by a parameter (``depth_loss`` is ``--depth-loss``) and sets one option or more, each given by its
dotted path in the option tables (``train.loss.depth``). A flag that was not given is None and sets nothing.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from depthrf import pipeline


@dataclass(frozen=True)
class Flag:
    """``field`` and ``hint`` are those of the first target; ``default`` is the text shown, empty for none."""

    targets: tuple[str, ...]
    field: dataclasses.Field[Any]
    hint: Any
    default: str
    heading: str | None = None


Flags = dict[str, Flag]
"""Flags by the name of their parameter."""


def group_flags(group: type, prefix: str = "", *, defaults: Mapping[str, str] | None = None) -> Flags:
    """Flags of the plain fields of a dataclass, and of those in its groups that ask to be flags.

    Args:
        group: The options dataclass.
        prefix: Path of its table with a dot behind, e.g. ``train.``; empty where the dataclass is the whole table.
        defaults: Texts by path, for options whose default is not that of their field.
    """
    flags: Flags = {}
    hints = typing.get_type_hints(group)
    for field in dataclasses.fields(group):
        path, hint = prefix + field.name, hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            inner = group_flags(hint, f"{path}.", defaults=defaults)
            flags |= {name: flag for name, flag in inner.items() if flag.field.metadata["flag"]}
        else:
            flags[field.name] = _flag((path,), field, hint, defaults or {})
    return flags


def stage_flags(stage: str) -> Flags:
    """Flags of a stage's ``Options``, with paths that begin with the stage's name."""
    return group_flags(pipeline.stage_module(stage).Options, f"{stage}.", defaults=_preset_defaults())


def pipeline_flags(table: Mapping[str, str | tuple[str, ...]], heading: str | None = None) -> Flags:
    """Flags of single options of the pipeline: names to paths such as ``train.loss.depth``."""
    flags: Flags = {}
    for name, targets in table.items():
        paths = (targets,) if isinstance(targets, str) else targets
        stage, _, path = paths[0].partition(".")
        field, hint = _find(pipeline.stage_module(stage).Options, path)
        flags[name] = dataclasses.replace(_flag(paths, field, hint, _preset_defaults()), heading=heading)
    return flags


def with_flags(flags: Flags) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the flags in place of its ``**values``; the help shows them before its keyword-only ones."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        before = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.kind is p.POSITIONAL_OR_KEYWORD]
        after = [p for p in own if p.kind is p.KEYWORD_ONLY]
        generated = [_parameter(name, flag) for name, flag in flags.items()]
        command.__signature__ = inspect.Signature([*before, *generated, *after])  # type: ignore[attr-defined]
        return command

    return decorate


def tables(flags: Flags, values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested option tables of the flags that were given."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if value is not None:
            for target in flags[name].targets:
                result = pipeline.merge_tables(result, pipeline.nested(target, value))
    return result


class GroupedHelp(TyperCommand):
    """Plain help text with the options under their headings, which typer has for rich text only."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _find(group: type, path: str) -> tuple[dataclasses.Field[Any], Any]:
    """Field and type of an option by its dotted path in an options dataclass."""
    name, _, rest = path.partition(".")
    hint = typing.get_type_hints(group)[name]
    return _find(hint, rest) if rest else (next(f for f in dataclasses.fields(group) if f.name == name), hint)


def _flag(paths: tuple[str, ...], field: dataclasses.Field[Any], hint: Any, defaults: Mapping[str, str]) -> Flag:
    return Flag(paths, field, hint, defaults.get(paths[0], _text(field.default)))


def _text(default: Any) -> str:
    """As a help text says it; empty where the absence of the flag says it all."""
    if isinstance(default, bool):
        return "yes" if default else ""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "" if default is None else str(default)


@cache
def _preset_defaults() -> dict[str, str]:
    """``the preset's`` for every option that a preset sets."""
    tables = (pipeline.load_pipeline(name) for name in pipeline.presets())
    return {path: "the preset's" for table in tables for path in _paths(table)}


def _paths(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    paths: list[str] = []
    for key, value in table.items():
        paths += _paths(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [prefix + key]
    return paths


def _parameter(name: str, flag: Flag) -> inspect.Parameter:
    kind: Any = _kind(flag.hint)
    declared = "--" + name.replace("_", "-")
    if kind is bool:
        declared += declared.replace("--", "/--no-", 1)
    notes = [", ".join(flag.field.metadata["choices"]), f"default: {flag.default}" if flag.default else ""]
    remark = "; ".join(filter(None, notes))
    text = flag.field.metadata["help"]
    text = text[0].upper() + text[1:] + (f" ({remark})." if remark else ".")
    annotation = Annotated[kind | None, typer.Option(declared, help=text, rich_help_panel=flag.heading)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _kind(hint: Any) -> Any:
    """What the argument parser reads; other types are texts that ``options.build`` converts."""
    if isinstance(hint, types.UnionType):
        hint = next(a for a in hint.__args__ if a is not type(None))
    return hint if hint in (int, float, bool, Path) else str
