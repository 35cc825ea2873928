"""Errors a user can cause. Each carries one message: what was found, what was expected, what to do next.

Exit codes: 0 done, 1 the input could not be reconstructed, 2 wrong usage, 130 interrupted.
"""


class DepthrfError(Exception):
    """The input could not be processed; the message says why and what to do. Exit code 1."""

    exit_code = 1


class UsageError(DepthrfError):
    """The command or an option is wrong: a path that does not exist, an unknown preset or key. Exit code 2."""

    exit_code = 2
