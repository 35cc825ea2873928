"""Downloads a large file over HTTP: progress, resumption of a cut download, and plain messages for what goes wrong."""

from __future__ import annotations

import errno
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from depthrf import __version__, console
from depthrf.errors import DepthrfError
from depthrf.storage import read_json, write_json

_CHUNK = 1 << 20
_ATTEMPTS = 4
_TIMEOUT_S = 30.0


class _Cut(Exception):
    """The connection ended before the file did."""


class _NothingLeft(Exception):
    """The part is as long as the file, or longer. ``length``: the file's, where the server told it."""

    def __init__(self, length: int | None) -> None:
        self.length = length


def download(url: str, file: Path, *, description: str, expected_size: int | None = None) -> Path:
    """Downloads ``url`` to ``<file>.part`` and returns that path: the caller checks it and renames it.

    A part left by an earlier, cut download is continued when the server still has the same file; a cut connection is
    tried again a few times.

    Args:
        url: http or https.
        file: Where the file will go.
        description: For the progress bar.
        expected_size: Bytes, where known.

    Raises:
        DepthrfError: No connection, an error status, a full disk, or a file that cannot be written.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with console.progress() as display:
            task = display.add_task(description, total=None, info="MB")

            def show(done: int, total: int | None) -> None:
                size = total or expected_size
                display.update(task, completed=done / 1e6, total=size / 1e6 if size else None)

            for attempt in range(_ATTEMPTS):
                try:
                    _attempt(url, part, show)
                    break
                except _Cut as e:
                    if attempt == _ATTEMPTS - 1:
                        raise DepthrfError(
                            f"The connection to {url} was cut ({e}). What arrived is kept; run the command again "
                            "to go on."
                        ) from e
    except OSError as e:
        raise _write_failed(e, part) from e
    _state(part).unlink(missing_ok=True)
    return part


def _attempt(url: str, part: Path, on_progress: Callable[[int, int | None], None]) -> None:
    have = part.stat().st_size if part.is_file() else 0
    state = read_json(_state(part)) if have and _state(part).is_file() else {}
    headers = {"User-Agent": f"depthrf/{__version__}"}
    if have and state.get("url") == url and state.get("validator"):
        headers |= {"Range": f"bytes={have}-", "If-Range": state["validator"]}
    else:
        have = 0
    try:
        opened = _open(urllib.request.Request(url, headers=headers))
    except _NothingLeft as e:
        if e.length == have:  # an earlier run was stopped between the last byte and the renaming
            on_progress(have, have)
            return
        part.unlink()
        raise _Cut("the part kept from before did not fit") from e
    with opened as response:
        if response.status != 206:  # the server sends the whole file: it changed, or it does not resume
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        if total is not None and shutil.disk_usage(part.parent).free < total - have:
            raise OSError(errno.ENOSPC, f"{total - have} more bytes are needed")
        # Written before the first byte, so that a part is never continued with another file's rest.
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if not have:
            part.unlink(missing_ok=True)
        write_json(_state(part), {"url": url, "validator": None if _is_weak(validator) else validator})
        with open(part, "ab") as out:
            done = _copy(response, out, have, lambda n: on_progress(n, total))
    if total is not None and done < total:
        raise _Cut(f"{done} of {total} bytes arrived")


def _is_weak(validator: str | None) -> bool:
    """Weak ETags do not promise the same bytes, and servers ignore them in If-Range."""
    return validator is not None and validator.startswith("W/")


class _StaysSecure(urllib.request.HTTPRedirectHandler):
    """Follows no redirect from https to anything else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.lower().startswith("https://"):
            raise DepthrfError(f"{req.full_url} sends on to {newurl}, which is not https. Nothing was downloaded.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: urllib.request.Request) -> Any:
    try:
        return urllib.request.build_opener(_StaysSecure).open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as e:
        if e.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            length = (e.headers.get("Content-Range") or "").removeprefix("bytes */")
            raise _NothingLeft(int(length) if length.isdecimal() else None) from e
        raise DepthrfError(
            f"{request.full_url} answered {e.code} {e.reason}. The file may have moved: look for it at its publisher "
            "and put it into the weights folder by hand."
        ) from e
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as e:
        reason = getattr(e, "reason", e)
        raise DepthrfError(
            f"Cannot reach {request.full_url} ({reason}). Check the network, or download the file elsewhere and put it "
            "into the weights folder by hand."
        ) from e


def _copy(response: Any, out: IO[bytes], done: int, on_progress: Callable[[int], None]) -> int:
    """Copies the rest of the response; returns how many bytes the file has now."""
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (TimeoutError, ConnectionError, http.client.HTTPException) as e:
            raise _Cut(str(e) or type(e).__name__) from e
        if not chunk:
            return done
        out.write(chunk)
        done += len(chunk)
        on_progress(done)


def _write_failed(error: OSError, part: Path) -> DepthrfError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DepthrfError(
            f"No room for {part} ({error.strerror}). Free some space, or choose another folder with DEPTHRF_WEIGHTS. "
            "What arrived is kept; run the command again to go on."
        )
    return DepthrfError(f"Cannot write {part}: {error.strerror}. Choose another folder with DEPTHRF_WEIGHTS.")


def _state(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
