"""Options dataclasses as command-line flags: type, choices, default and help text come from the fields' declarations.

A flag is named by a parameter (``depth_loss`` is ``--depth-loss``) and sets one option or more, each given by its
dotted path in the option tables (``train.loss.depth``). A flag that was not given is None and sets nothing.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from depthrf import pipeline
from depthrf.errors import UsageError
from depthrf.options import leaves, nearest
from depthrf.stages.stage import STAGES


@dataclass(frozen=True)
class Flag:
    """A flag and the options it sets.

    ``field`` and ``hint`` belong to the first of these. ``default`` is the text that the help shows, empty for none.
    """

    targets: tuple[str, ...]
    field: dataclasses.Field[Any]
    hint: Any
    default: str
    heading: str | None = None


COMMON = frozenset(("budget", "depth_source", "device", "frames", "max_photos", "pipeline", "seed", "steps"))
"""Flags that an environment variable can give as well, by the name of their parameter."""

Flags = dict[str, Flag]
"""Flags by the name of their parameter."""


def group_flags(group: type, prefix: str = "", *, defaults: Mapping[str, str] | None = None) -> Flags:
    """Flags of a dataclass: one for each plain field, and for each field in a group that is declared with ``flag``.

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
    return group_flags(STAGES[stage].Options, f"{stage}.", defaults=_preset_defaults())


def pipeline_flags(table: Mapping[str, str | tuple[str, ...]], heading: str | None = None) -> Flags:
    """Flags of single options of the pipeline: names to paths such as ``train.loss.depth``."""
    flags: Flags = {}
    for name, targets in table.items():
        paths = (targets,) if isinstance(targets, str) else targets
        stage, _, path = paths[0].partition(".")
        field, hint = _find(STAGES[stage].Options, path)
        flags[name] = dataclasses.replace(_flag(paths, field, hint, _preset_defaults()), heading=heading)
    return flags


def with_flags(flags: Flags) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replaces the ``**values`` of a command by flags, which the help shows before the command's keyword-only ones."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        before = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.kind is p.POSITIONAL_OR_KEYWORD]
        after = [p for p in own if p.kind is p.KEYWORD_ONLY]
        generated = [_parameter(name, flag) for name, flag in flags.items()]
        command.__signature__ = inspect.Signature([*before, *generated, *after])  # type: ignore[attr-defined]
        return command

    return decorate


def each_option(group: type, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Dotted path, declaration and type of every option of a dataclass, those in groups included."""
    hints = typing.get_type_hints(group)
    for field in dataclasses.fields(group):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from each_option(hint, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field, hint


def tables(flags: Flags, values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested option tables of the flags that were given."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if value is not None and value != []:  # a repeatable flag that was not given is an empty list
            for target in flags[name].targets:
                result = pipeline.merge_tables(result, pipeline.nested(target, value))
    return result


def one_of(name: str, choices: Iterable[str]) -> dict[str, Any]:
    """Arguments of ``typer.Option`` for a value out of several: the help shows them, the shell completes them, and
    another value is told at once, before anything is looked for.

    Args:
        name: What the user knows the parameter as, for the message.
        choices: The values.
    """
    known = tuple(choices)

    def check(value: str | None) -> str | None:
        if value is None or value in known:
            return value
        near = nearest(value, known)
        found = f"{value!r}; did you mean {near!r}?" if near else repr(value)
        raise UsageError(f"{name} should be one of {', '.join(known)}; found {found}")

    return {"metavar": "|".join(known), "autocompletion": completion(known), "callback": check}


def completion(values: Iterable[str]) -> Callable[[str], list[str]]:
    """What the shell asks for the values that begin as what was typed."""
    known = tuple(values)
    return lambda incomplete: [value for value in known if value.startswith(incomplete)]


def environment(name: str) -> str:
    """The environment variable of a flag in :data:`COMMON`: ``DEPTHRF_MAX_PHOTOS`` for ``max_photos``."""
    return f"DEPTHRF_{name.upper()}"


def _find(group: type, path: str) -> tuple[dataclasses.Field[Any], Any]:
    """Field and type of an option by its dotted path in an options dataclass."""
    name, _, rest = path.partition(".")
    hint = typing.get_type_hints(group)[name]
    return _find(hint, rest) if rest else (next(f for f in dataclasses.fields(group) if f.name == name), hint)


def _flag(paths: tuple[str, ...], field: dataclasses.Field[Any], hint: Any, defaults: Mapping[str, str]) -> Flag:
    return Flag(paths, field, hint, defaults.get(paths[0], _text(field.default)))


def _text(default: Any) -> str:
    """A default as the help shows it; empty for switches that are off and for options without a value."""
    if isinstance(default, bool):
        return "yes" if default else ""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "" if default is None else str(default)


@cache
def _preset_defaults() -> dict[str, str]:
    """The text ``the preset's`` for each option that some preset sets, by path."""
    tables = (pipeline.load_pipeline(name) for name in pipeline.presets())
    return {path: "the preset's" for table in tables for path in leaves(table)}


def _parameter(name: str, flag: Flag) -> inspect.Parameter:
    kind: Any = list[str] if flag.field.metadata["separator"] != "," else _kind(flag.hint)
    declared = "--" + name.replace("_", "-")
    if kind is bool:
        declared += declared.replace("--", "/--no-", 1)
    metadata = flag.field.metadata
    choices = metadata["choices"]
    shown: dict[str, Any] = {"metavar": "TEXT"} if typing.get_origin(kind) is list else {}
    if choices and (metadata["or_file"] or typing.get_origin(flag.hint) is tuple):
        # Files, and the items of lists, are checked where the text is read.
        further = "|FILE" if metadata["or_file"] else ",..."
        shown = {"metavar": "|".join(choices) + further, "autocompletion": completion(choices)}
    elif choices:
        shown = one_of(declared, choices)
    text = metadata["help"]
    text = text[0].upper() + text[1:] + (f" (default: {flag.default})." if flag.default else ".")
    option = typer.Option(
        declared,
        help=text,
        rich_help_panel=flag.heading,
        envvar=environment(name) if name in COMMON else None,
        show_envvar=False,
        **shown,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _kind(hint: Any) -> Any:
    """The type that the argument parser checks; others reach ``options.build`` as text."""
    if isinstance(hint, types.UnionType):
        hint = next(a for a in hint.__args__ if a is not type(None))
    return hint if hint in (int, float, bool, Path) else str
