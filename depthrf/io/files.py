"""Files that others bring: only regular files are opened, no more of one is read than was agreed, and whatever a parser
of one raises becomes one sentence.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from depthrf.errors import DepthrfError, UsageError

MOST_TEXT = 256 * 2**20  # bytes; no JSON or table of a data set comes near it

_ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}
"""The last bytes of a picture by its ending."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotAFileError(OSError):
    """There is no regular file of a sensible size at this path; ``strerror`` says in a few words what there is."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(errno.EINVAL, reason, os.fspath(path))


def why_not_regular(path: Path) -> str | None:
    """What lies at ``path`` instead of a regular file, in a few words; None where it is one.

    Symbolic links count as what they lead to. Nothing is opened, so a named pipe does not block.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as e:
        if e.errno == errno.ELOOP:
            return "a symbolic link that leads in a circle"
        if e.errno == errno.ENOENT:
            return "a symbolic link to a file that is not there" if os.path.islink(path) else "not there any more"
        return f"cannot be read ({e.strerror})"
    if stat.S_ISREG(mode):
        return None
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no regular file")


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading.

    Raises:
        NotAFileError: It is a folder, a device, a named pipe or a link that leads nowhere.
        OSError: It cannot be opened.
    """
    if (reason := why_not_regular(path)) is not None:
        raise NotAFileError(path, reason)
    # Without O_NONBLOCK, a named pipe put there since the look above would block for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(path, "no regular file")
    return os.fdopen(descriptor, "rb")


def is_whole_picture(path: Path) -> bool:
    """Whether there is a file with the end that a JPEG or a PNG has; of other pictures, whether there is one at all."""
    end = _ENDS.get(path.suffix.lower(), b"")
    try:
        with open_regular(path) as file:
            file.seek(-max(1, len(end)), os.SEEK_END)
            return file.read().endswith(end)
    except OSError:  # not there, or shorter
        return False


def read_regular(path: Path, most: int) -> bytes:
    """All bytes of a regular file of at most ``most`` bytes.

    Raises:
        NotAFileError: It is no regular file, or a larger one.
        OSError: It cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise NotAFileError(path, f"too large a file ({size / 2**20:.0f} MB; at most {most / 2**20:.0f})")
        return file.read(most)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without the byte order mark that Windows programs write.

    Raises:
        OSError: It cannot be read, or is no regular file of a sensible size.
        UnicodeDecodeError: It is not UTF-8.
    """
    return read_regular(path, MOST_TEXT).decode("utf-8-sig")


@contextlib.contextmanager
def parsing(path: Path, what: str) -> Iterator[None]:
    """The door of a format: inside, a parser may be as strict as it likes and raise what it likes.

    Args:
        path: What is read.
        what: What it should be, with its article, for the message.

    Raises:
        UsageError: Something was raised that is no message for a user yet; the new one names the file.
    """
    try:
        yield
    except DepthrfError:
        raise
    except OSError as e:
        raise UsageError(f"{e.filename or path} cannot be read: {e.strerror or e}.") from e
    except Exception as e:
        words = " ".join(str(e).split())[:120]
        raise UsageError(f"{path} is not {what} that can be read ({type(e).__name__}: {words}).") from e
