"""The presets of ``depthrf bench``: a TOML file for each kind of field, and one for each protocol below it.

They lie in ``pipelines/bench/``. A file has the groups of :class:`depthrf.bench.protocol.Options` as its tables. What
stands in ``[several_scales]`` is put over them where more than one size is scored. A protocol says which views are
trained on and scored, and is put over the field's preset.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from depthrf.bench.protocol import Options
from depthrf.errors import UsageError
from depthrf.options import build
from depthrf.pipeline import merge_tables
from depthrf.shipped import shipped

_FIELDS = "pipelines/bench"
_PROTOCOLS = "pipelines/bench/protocols"


def names() -> list[str]:
    """Kinds of field that have a preset."""
    return _stems(_FIELDS)


def protocols() -> list[str]:
    """Protocols by name."""
    return _stems(_PROTOCOLS)


def _stems(folder: str) -> list[str]:
    return sorted(path.stem for path in shipped(folder).glob("*.toml"))


def load(name: str, given: Mapping[str, Any], where: str, *, protocol: str | None = None) -> Options:
    """The options of a preset with those of a protocol and the values in ``given`` put over them.

    Args:
        name: Kind of field.
        given: Nested tables of option values.
        where: What the user knows ``given`` as, for messages.
        protocol: One of :func:`protocols`.

    Raises:
        UsageError: There is no such preset or protocol, or a value in ``given`` is wrong.
    """
    if name not in names():
        raise UsageError(f"--field should be one of {', '.join(names())}; found {name!r}")
    if protocol is not None and protocol not in protocols():
        raise UsageError(f"--protocol should be one of {', '.join(protocols())}; found {protocol!r}")
    tables = _table(_FIELDS, name)
    if protocol is not None:
        tables = merge_tables(tables, _table(_PROTOCOLS, protocol))
    several_scales = tables.pop("several_scales", {})
    options = build(Options, merge_tables(tables, given), where)
    if options.scales == 1:
        return options
    return build(Options, merge_tables(merge_tables(tables, several_scales), given), where)


def _table(folder: str, name: str) -> dict[str, Any]:
    return tomllib.loads((shipped(folder) / f"{name}.toml").read_text(encoding="utf-8"))
