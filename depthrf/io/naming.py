"""Names of files in messages: fit to be shown, and not too many of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

_MOST_NAMED = 3


def shown(name: str) -> str:
    """A file's name for people and for JSON: bytes that are no UTF-8, and control characters, are escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def counted(count: int, what: str) -> str:
    """A number with its noun."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def some_of(names: Sequence[str], count: int | None = None) -> str:
    """The first names of a list, for a message; ``count`` is how many there are in all."""
    listed = ", ".join(shown(name) for name in names[:_MOST_NAMED])
    return listed + (", ..." if (len(names) if count is None else count) > min(len(names), _MOST_NAMED) else "")
