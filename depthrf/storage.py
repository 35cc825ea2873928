"""Files as stages write and compare them: whole or not at all, as JSON, in folders of results, by fingerprints."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from depthrf.errors import DepthrfError, UsageError

T = TypeVar("T")

NO_FILE = "a device or a named pipe; expected a file or a folder"
_SETTLED_NS = 2 * 10**9
_LONGEST_NAME, _LONGEST_SUFFIX = 255, 16  # bytes
_TEMPORARY = re.compile(r"\..*\.(\d+)\.tmp(\..*)?", re.DOTALL)
"""Names of :func:`atomic_path`, with the process that writes the file."""

# Atomic files


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` with the same ending; renamed onto ``path`` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_temporary_name(path))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_name(path: Path) -> str:
    """A hidden name with the same ending that no file system refuses as too long where it takes the name itself."""
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ""
    name = f".{path.stem}.{os.getpid()}.tmp{suffix}"
    if len(os.fsencode(name)) <= _LONGEST_NAME:
        return name
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.{os.getpid()}.tmp{suffix}"


@contextlib.contextmanager
def atomic_open(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a temporary file beside ``path``; synced and renamed onto ``path`` when the block succeeds."""
    with atomic_path(path) as temporary, open(temporary, mode, encoding=None if "b" in mode else "utf-8") as handle:
        yield handle
        handle.flush()
        os.fsync(handle.fileno())


def remove_abandoned(root: Path) -> None:
    """Removes the temporary files below a folder whose processes were killed before they could."""
    for folder, _, names in os.walk(root):
        for name in names:
            if (found := _TEMPORARY.fullmatch(name)) is not None and not _is_running(int(found[1])):
                Path(folder, name).unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextlib.contextmanager
def set_aside(paths: Sequence[Path]) -> Iterator[None]:
    """Moves files and folders out of the way, and back where the block fails before any of them was made anew."""
    moved = {path: _aside(path) for path in paths}
    remove_set_aside(paths)
    for path, aside in moved.items():
        if path.exists():
            path.rename(aside)
    try:
        yield
    except BaseException:
        if not any(path.exists() for path in paths):
            for path, aside in moved.items():
                if aside.exists():
                    aside.rename(path)
        raise
    finally:
        remove_set_aside(paths)


def remove_set_aside(paths: Sequence[Path]) -> None:
    """Removes what :func:`set_aside` moved in a process that was killed."""
    for path in paths:
        remove(_aside(path))


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


@contextlib.contextmanager
def file_lock(path: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Holds an advisory lock on a file, which is made where there is none; does nothing where the system has no locks.

    Raises:
        BlockingIOError: Another process still holds it after ``wait_s`` seconds.
        OSError: The file cannot be opened, or is a symbolic link.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def link_leading_out(root: Path) -> Path | None:
    """A symbolic link below a folder whose target is not below it, if there is one.

    What is removed or written at its place would be somebody else's.
    """
    real = Path(os.path.realpath(root))
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(real):
                return path
    return None


def fresh_dir(path: Path) -> Path:
    """``path`` as an empty folder; what an earlier run of the same stage left there is removed."""
    remove(path)
    path.mkdir(parents=True)
    return path


def remove(path: Path) -> None:
    """Removes a file or a folder with all in it where it exists; of a symbolic link the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none. Its folder is made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        DepthrfError: The file is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as e:
        raise _damaged(path, e) from e
    if not isinstance(value, dict):
        raise _damaged(path, f"a {type(value).__name__} instead of an object")
    return value


def read_typed(path: Path, kind: type[T]) -> T:
    """Reads a JSON object as a dataclass that :func:`write_json` wrote; keys that it does not know are passed over.

    Raises:
        DepthrfError: The file is damaged, lacks a field, or holds a value of another type.
    """
    import msgspec

    try:
        return msgspec.convert(read_json(path), kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as e:  # the latter by a key that is no Unicode text
        raise _damaged(path, e) from e


def _damaged(path: Path, reason: object) -> DepthrfError:
    return DepthrfError(f"{path} is damaged ({reason}). Remove it and run the command again.")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically; dataclasses, paths and numpy scalars are converted, non-finite numbers become null."""
    with atomic_open(path) as handle:
        handle.write(json_text(value) + "\n")


def json_text(value: Any) -> str:
    """JSON of plain values, dataclasses, paths and numpy scalars; non-finite numbers become null."""
    text = json.dumps(_jsonable(value), indent=1, ensure_ascii=False)
    # Names of files that are no UTF-8 come as lone surrogates, which only JSON's own escapes can hold.
    return re.sub(r"[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _jsonable(value.tolist())
    if isinstance(value, float) and value - value != 0:  # nan and inf are not JSON
        return None
    return value


# Freshness


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, or of a folder's file names and contents; ``absent`` where there is nothing.

    Raises:
        UsageError: It is a device or a named pipe, which has no end.
    """
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(os.fsencode(f"{file.relative_to(path).as_posix()}={fingerprint(file)}\n"))
        return digest.hexdigest()
    if not path.exists():
        return "absent"
    if not path.is_file():
        raise UsageError(f"{path} is {NO_FILE}.")
    stat = path.stat()
    # A file changed a moment ago may change again within the tick of the clock that its time shows: read it anew.
    settled = time.time_ns() - stat.st_mtime_ns > _SETTLED_NS
    read = _digest if settled else _digest.__wrapped__
    return read(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _digest(path: Path, inode: int, size: int, modified_ns: int) -> str:
    """Content hash of a file, remembered while the file is the same, as stages hash what the one before wrote."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
