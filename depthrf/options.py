"""Options dataclasses: declared once, read from TOML tables and command-line flags alike.

Every stage has a frozen ``Options`` dataclass whose fields are made by :func:`option`. The same declaration gives the
TOML key, the command-line flag, its help text and its part in the stage's fingerprint. This module imports nothing
heavy, so that ``depthrf --help`` stays fast.
"""

from __future__ import annotations

import dataclasses
import difflib
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from depthrf.errors import UsageError

T = TypeVar("T")

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    least: float | None = None,
    most: float | None = None,
    identity: bool = True,
    flag: bool = False,
    file_ending: str = "",
    or_file: bool = False,
    separator: str = ",",
) -> Any:
    """A field of an options dataclass.

    Args:
        default: Default value, or a dataclass type for a nested group of options.
        help: One line for ``--help`` and the documentation.
        choices: Allowed values of a string option; empty means any.
        least, most: Bounds of a number, or of each in a list.
        identity: False for options that do not change the result (device, threads); they do not make a stage stale.
        file_ending: A text that ends so is the path of a file.
        or_file: The path of a file or folder is allowed beside the choices.
        separator: Between the items of a list that is given as text. A list whose items hold commas has another one,
            and a repeatable flag.
        flag: True for an option in a group that gets a command-line flag. Options outside groups always get one.
    """
    bounds = {"least": least, "most": most}
    metadata = {"help": help, "choices": choices, "identity": identity, "flag": flag, **bounds}
    metadata |= {"file_ending": file_ending, "or_file": or_file, "separator": separator}
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Makes an options dataclass from a (nested) mapping; unknown keys, wrong types and wrong choices raise.

    Args:
        cls: The options dataclass.
        values: Keys to values, as a TOML table gives them.
        where: What the user knows this table as, for the message, e.g. ``[train] in my.toml``.

    Raises:
        UsageError: An unknown key (with the nearest known one), a value of the wrong type or out of bounds.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"{where} is a group of options, found {shown(values)}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in fields:
            near = nearest(name, fields)
            hint = f"did you mean {near!r}?" if near else f"known keys: {', '.join(sorted(fields))}"
            raise UsageError(f"Unknown key {shown(key)} in {where}; {hint}")
        chosen[name] = _convert(value, hints[name], fields[name].metadata, f"{key!r} in {where}")
    return cls(**chosen)


def _convert(value: Any, hint: Any, metadata: Mapping[str, Any], where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where)
    optional = isinstance(hint, types.UnionType) and type(None) in hint.__args__
    if optional:
        if value is None or value == "":
            return None
        (hint,) = (a for a in hint.__args__ if a is not type(None))
    if typing.get_origin(hint) is tuple:
        (item, *_) = hint.__args__
        items = value if isinstance(value, (list, tuple)) else str(value).split(metadata.get("separator", ","))
        return tuple(_convert(v, item, metadata, where) for v in items)
    try:
        converted = _scalar(value, hint)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{where} should be {hint.__name__}, found {shown(value)}") from None
    if (choices := metadata.get("choices")) and converted not in choices:
        path = Path(str(converted))
        looks_like_one = path.suffix or len(path.parts) > 1 or path.exists()
        if not (metadata.get("or_file") and looks_like_one):
            or_file = " or a file" if metadata.get("or_file") else ""
            raise UsageError(f"{where} should be one of {', '.join(choices)}{or_file}; found {shown(value)}")
    least, most = metadata.get("least"), metadata.get("most")
    if (least is not None and not converted >= least) or (most is not None and not converted <= most):
        bounds = [f"at {name} {metadata[name]:g}" for name in ("least", "most") if metadata[name] is not None]
        raise UsageError(f"{where} should be {' and '.join(bounds)}; found {shown(value)}")
    return converted


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a mistyped one; None where none is."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def shown(value: Any) -> str:
    """A value shortened for a message, whatever its type and size."""
    try:
        return _REPR.repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or too many lists in one another
        return f"{type(value).__name__} of great size"


def _scalar(value: Any, hint: type) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "yes", "1", "false", "no", "0"):
            return str(value).lower() in ("true", "yes", "1")
        raise ValueError
    if isinstance(value, bool | Mapping | list):
        raise ValueError
    if hint is int and isinstance(value, float) and not value.is_integer():
        raise ValueError
    return hint(value)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(duration: str) -> float:
    """Seconds of a duration such as ``90s``, ``10m`` or ``1.5h``.

    Raises:
        UsageError: It is not one.
    """
    try:
        seconds = float(duration[:-1]) * _UNITS[duration[-1:]]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise UsageError(f"A time should be like 90s, 10m or 1h; found {duration!r}")
    return seconds


def to_dict(options: Any) -> dict[str, Any]:
    """Nested plain dict of an options dataclass, ready for JSON: paths as strings, tuples as lists."""
    return {f.name: _plain(getattr(options, f.name)) for f in dataclasses.fields(options)}


def paths(options: Any) -> dict[str, Path]:
    """The options that name a file or folder, by option name. Options in groups never do."""
    found = {}
    for f in dataclasses.fields(options):
        value, ending = getattr(options, f.name), f.metadata.get("file_ending")
        beside_choices = f.metadata.get("or_file") and value not in f.metadata["choices"]
        if isinstance(value, Path) or beside_choices or (ending and isinstance(value, str) and value.endswith(ending)):
            found[f.name] = Path(value)
    return found


def with_absolute_paths(options: T) -> T:
    """The options with absolute paths, which mean the same from any folder."""
    absolute = {name: path.absolute() for name, path in paths(options).items()}
    texts = {name: str(path) for name, path in absolute.items() if isinstance(getattr(options, name), str)}
    return dataclasses.replace(options, **(absolute | texts))  # type: ignore[type-var]


def identity(options: Any) -> dict[str, Any]:
    """As :func:`to_dict`, without the options that do not change the result."""
    result = {}
    for f in dataclasses.fields(options):
        if f.metadata.get("identity", True):
            value = getattr(options, f.name)
            result[f.name] = identity(value) if dataclasses.is_dataclass(value) else _plain(value)
    return result


def leaves(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested tables by their dotted path."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Dotted path, former and present value of each option that differs, as ``--set`` takes them."""
    was, are = leaves(before), leaves(now)
    changed = (path for path in dict.fromkeys([*was, *are]) if was.get(path) != are.get(path))
    return [(path, as_text(was.get(path)), as_text(are.get(path))) for path in changed]


def as_text(value: Any) -> str:
    """An option's value as ``--set`` takes it: empty for none."""
    if isinstance(value, list | tuple):
        items = [str(item) for item in value]
        return (";" if any("," in item for item in items) else ",").join(items)
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value
