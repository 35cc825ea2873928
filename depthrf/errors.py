"""Errors a user can cause. Each carries one message: what was found, what was expected, what to do next.

Exit codes: 0 done, 1 the input could not be reconstructed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import traceback


class DepthrfError(Exception):
    """The input could not be processed; the message says why and what to do. Exit code 1."""

    exit_code = 1


def described(error: Exception) -> str:
    """An unexpected exception in one line: its kind and its message, or where it was raised if it has none."""
    lines = str(error).strip().splitlines()
    if lines:
        return f"{type(error).__name__}: {lines[0]}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
    return f"{type(error).__name__}{place}"


class UsageError(DepthrfError):
    """The command or an option is wrong: a path that does not exist, an unknown preset or key. Exit code 2."""

    exit_code = 2
