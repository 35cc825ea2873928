"""Which training views a field is trained on, as ``--views`` names them.

A set is ``N`` (the first N views), numbers of views joined by ``+`` (``26+86+2``), ``standard-8`` (the eight views of
nerf_synthetic that few-view methods are compared on), or ``random-NxM``: M sets of N views each, drawn by the seed.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from depthrf.errors import UsageError

STANDARD_8 = (26, 86, 2, 55, 75, 93, 16, 73)
"""DietNeRF (Jain et al. 2021), and all who compare with it."""

_NAMED = {"standard-8": STANDARD_8}
_MOST_SPELT_OUT = 12  # numbers of views in a set's name
_MOST_DRAWS = 1000
_FORMS = "numbers of views (3), lists of views (26+86+2), standard-8, or random draws (random-3x10: ten of three)"


@dataclass(frozen=True)
class ViewSet:
    """Numbers of training views, from 0. ``group`` is what ``--views`` calls them; draws of a group share it."""

    name: str
    group: str
    ids: tuple[int, ...]


def view_sets(texts: Iterable[str], num_views: int, seed: int) -> list[ViewSet]:
    """The sets that ``--views`` asks for, of a scene with ``num_views`` training views.

    Raises:
        UsageError: A text is none of the forms, or the scene has too few views.
    """
    found = [view_set for text in texts for view_set in _parsed(text.strip(), num_views, seed)]
    for view_set in found:
        wrong = [i for i in view_set.ids if i >= num_views]
        if wrong or not view_set.ids:
            raise UsageError(
                f"--views {view_set.group}: the scene has {num_views} training views, numbered from 0; it has no "
                f"{wrong[:3] or 'such set'}."
            )
    return found


def num_ids(group: str) -> int:
    """How many views each set of a group has."""
    if group in _NAMED:
        return len(_NAMED[group])
    drawn = re.fullmatch(r"random-(\d+)x\d+", group)
    return int(drawn[1]) if drawn else group.count("+") + 1 if "+" in group else int(group)


def is_random(group: str) -> bool:
    """Whether the views of a group are drawn, so that its scores have a spread."""
    return group.startswith("random-")


def _parsed(text: str, num_views: int, seed: int) -> list[ViewSet]:
    if text in _NAMED:
        return [ViewSet(text, text, _NAMED[text])]
    if re.fullmatch(r"[1-9]\d{0,8}", text):
        count = int(text)
        if count > num_views:
            raise UsageError(f"--views {text}: the scene has {num_views} training views.")
        return [ViewSet(text, text, tuple(range(count)))]
    if re.fullmatch(r"\d{1,9}(\+\d{1,9})+", text):
        ids = tuple(int(part) for part in text.split("+"))
        if len(set(ids)) < len(ids):
            raise UsageError(f"--views {text} names a view twice.")
        spelt_out = len(ids) <= _MOST_SPELT_OUT
        name = "-".join(map(str, ids)) if spelt_out else f"{len(ids)}-{zlib.crc32(text.encode()):08x}"
        return [ViewSet(f"ids-{name}", text, ids)]
    drawn = re.fullmatch(r"random-([1-9]\d{0,8})x([1-9]\d{0,8})", text)
    if drawn:
        return _draws(text, int(drawn[1]), int(drawn[2]), num_views, seed)
    raise UsageError(f"--views takes {_FORMS}; found {text[:60]!r}")


def _draws(group: str, size: int, count: int, num_views: int, seed: int) -> list[ViewSet]:
    """Sets of different views each; more draws of the same seed begin with those of fewer."""
    if size > num_views or count > _MOST_DRAWS:
        raise UsageError(f"--views {group}: the scene has {num_views} training views; at most {_MOST_DRAWS} draws.")
    generator = random.Random(f"{seed}-{size}")
    drawn = [tuple(sorted(generator.sample(range(num_views), size))) for _ in range(count)]
    return [ViewSet(f"random-{size}-{index:02d}", group, ids) for index, ids in enumerate(drawn)]
