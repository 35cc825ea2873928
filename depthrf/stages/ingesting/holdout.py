"""The `--holdout` option: which photos only `evaluate` sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from depthrf.errors import UsageError
from depthrf.io.files import read_text

HOLDOUT_FORMS = "every:8, names separated by commas, or a .txt file with one name a line"


def chosen_names(holdout: str, names: Sequence[str]) -> set[str]:
    """The photos that ``holdout`` means, at least one.

    ``every:n`` takes the first, the (n + 1)-th and so on, as is the custom since LLFF.

    Args:
        holdout: The text.
        names: The photos' names or paths, in order.

    Raises:
        UsageError: The text means no split of these photos.
    """
    kind, _, number = holdout.partition(":")
    if kind == "every":
        if not number.isdecimal() or int(number) < 2:
            raise UsageError(f"--holdout every:N takes a number of at least 2, for example every:8; found {holdout!r}")
        return set(names[:: int(number)])
    wanted = _listed(holdout)
    called = {name: {name, Path(name).name, Path(name).stem, str(Path(name).with_suffix(""))} for name in names}
    found = {name for name in names if called[name] & wanted}
    unknown = sorted(wanted.difference(*called.values()))
    if unknown or not found:
        what = f"no such photo: {', '.join(unknown)}" if unknown else "it names no photo"
        raise UsageError(f"--holdout {holdout}: {what}. Give {HOLDOUT_FORMS}.")
    return found


def _listed(holdout: str) -> set[str]:
    if holdout.endswith(".txt"):
        try:
            items = read_text(Path(holdout)).splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"--holdout {holdout}: the file cannot be read ({e}).") from e
    else:
        items = holdout.split(",")
    return {item.strip() for item in items if item.strip()}
