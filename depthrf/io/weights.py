"""Pretrained weights: the manifest, the cache folder, fetching and verifying. Reading them is ``io/checkpoints.py``.

Where the publisher states no checksum, the first download's is pinned in ``<file>.json`` beside the file, and a file
that differs later is refused.
"""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from depthrf import console
from depthrf.errors import DepthrfError, UsageError
from depthrf.shipped import shipped
from depthrf.workspace import fingerprint, read_json, write_json


@dataclass(frozen=True)
class Weights:
    """One entry of ``weights/manifest.toml``. ``size`` (bytes) and ``sha256`` only where the publisher states them."""

    name: str
    title: str
    architecture: str
    url: str
    file: str
    licence: str
    terms: str
    input: str
    kind: str
    paper: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Listed:
    """An entry with where its file is or would be, and whether it is there."""

    weights: Weights
    path: Path
    present: bool

    def __str__(self) -> str:
        where = f"here: {self.path}" if self.present else "not here"
        return f"{self.weights.name}: {self.weights.title}, licence {self.weights.licence}, {where}"


@dataclass(frozen=True)
class Verified:
    """A file's checksum and what it was compared with: ``manifest``, ``pin`` (the first download), or ``nothing``."""

    path: Path
    sha256: str
    against: str

    def __str__(self) -> str:
        result = {
            "manifest": "as published",
            "pin": "the same as when first downloaded",
            "nothing": "nothing to compare it with: none is published, and it was not downloaded by depthrf",
        }[self.against]
        return f"{self.path}: SHA-256 {self.sha256}, {result}"


def manifest() -> dict[str, Weights]:
    """All entries by name."""
    with open(shipped("weights/manifest.toml"), "rb") as handle:
        return {name: Weights(name=name, **entry) for name, entry in tomllib.load(handle).items()}


def find(name: str) -> Weights:
    """The entry called ``name``.

    Raises:
        UsageError: There is none.
    """
    entries = manifest()
    if name not in entries:
        raise UsageError(f"Unknown weights {name!r}; known: {', '.join(entries)}")
    return entries[name]


def folder() -> Path:
    """Where weights are kept: ``$DEPTHRF_WEIGHTS``, or the platform's cache folder."""
    if override := os.environ.get("DEPTHRF_WEIGHTS"):
        return Path(override).expanduser().absolute()
    home = Path.home()
    if sys.platform == "darwin":
        cache = home / "Library" / "Caches"
    elif sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return cache / "depthrf" / "weights"


def path(name: str) -> Path:
    """Where the file of ``name`` is, or would be.

    Raises:
        UsageError: No such entry.
    """
    return folder() / find(name).file


def list_weights() -> list[Listed]:
    """All entries, with whether their files are here."""
    return [Listed(w, folder() / w.file, (folder() / w.file).is_file()) for w in manifest().values()]


def fetch(name: str) -> Path:
    """Shows the terms of ``name``, downloads it unless it is here already, and checks it.

    Raises:
        UsageError: No such entry.
        DepthrfError: The download failed or gave another file than expected; the message says what to do.
    """
    return fetch_weights(find(name), folder())


def fetch_weights(weights: Weights, destination: Path) -> Path:
    """As :func:`fetch`, for any entry and folder."""
    from depthrf.io.download import download

    file = destination / weights.file
    if file.is_file():
        verify_weights(weights, destination)
        console.note(f"{weights.title} is already here: {file}")
        return file
    console.note(f"{weights.title}: licence {weights.licence}. {weights.terms}")
    part = download(weights.url, file, description=weights.file, expected_size=weights.size)
    try:
        found = fingerprint(part)
        _check(weights, file, part.stat().st_size, found)
    except DepthrfError:
        part.unlink()
        raise
    # The pin goes first: a file without one would be taken on trust.
    if weights.sha256 is None:
        write_json(_pin(file), {"sha256": found, "size": part.stat().st_size, "url": weights.url})
    os.replace(part, file)
    console.note(f"{weights.title}: {file} (sha256 {found})")
    return file


def verify(name: str) -> Verified:
    """Compares the file of ``name`` with the manifest's checksum, or with the one pinned on its first download.

    Raises:
        UsageError: No such entry.
        DepthrfError: The file is missing or differs.
    """
    return verify_weights(find(name), folder())


def verify_weights(weights: Weights, destination: Path) -> Verified:
    """As :func:`verify`, for any entry and folder."""
    file = destination / weights.file
    if not file.is_file():
        raise DepthrfError(f"{file} is not there. Download it with: depthrf weights fetch {weights.name}")
    found = fingerprint(file)
    return Verified(file, found, _check(weights, file, file.stat().st_size, found))


def _check(weights: Weights, file: Path, size: int, found: str) -> str:
    """What the checksum was compared with.

    Raises:
        DepthrfError: Size or checksum differ.
    """
    if weights.size is not None and size != weights.size:
        raise DepthrfError(
            f"{file} has {size} bytes, expected {weights.size}. Remove it and run: depthrf weights fetch {weights.name}"
        )
    if weights.sha256 is not None:
        against, expected = "manifest", weights.sha256
    elif _pin(file).is_file():
        against, expected = "pin", str(read_json(_pin(file)).get("sha256"))
    else:
        return "nothing"
    if found != expected:
        origin = "its first download" if against == "pin" else "the manifest"
        raise DepthrfError(
            f"{weights.title} from {weights.url} has SHA-256 {found}, {origin} has {expected}: refused. "
            f"Remove {file} and fetch it again"
            + (f"; if you know why it changed, remove {_pin(file)} as well." if against == "pin" else ".")
        )
    return against


def _pin(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")
