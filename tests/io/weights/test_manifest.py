"""Downloads against a local HTTP server that misbehaves on request."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import io
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from depthrf.errors import DepthrfError, UsageError
from depthrf.io.weights import download
from depthrf.io.weights import manifest as module
from depthrf.io.weights.manifest import Weights, fetch_weights, verify_weights

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several chunks


@dataclass
class Server:
    """What the server has, how it misbehaves, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    etag: str = '"v1"'
    status: int = 200
    cut_after: list[int] = field(default_factory=list)  # bytes sent before the connection is cut, per request
    tells_length: bool = True
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", state.url)
                self.end_headers()
                return
            wanted = self.headers.get("Range")
            state.ranges.append(wanted)
            start = 0
            if wanted and self.headers.get("If-Range") == state.etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(416 if start >= len(state.content) else 206 if start else state.status)
            body = state.content[start:] if state.status == 200 else b""
            if start >= len(state.content):
                self.send_header("Content-Range", f"bytes */{len(state.content)}")
            if state.tells_length:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", state.etag)
            self.end_headers()
            cut = state.cut_after.pop(0) if state.cut_after else len(body)
            self.wfile.write(body[:cut])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        state.url = f"http://127.0.0.1:{httpd.server_port}/file.pt"
        yield state
        httpd.shutdown()


def entry(url: str, **changes: Any) -> Weights:
    plain = Weights("w", "Title", "arch", url, "file.pt", "non-commercial", "The terms.", "input", "depth", "paper")
    return replace(plain, **changes)


def test_fetch_shows_the_terms_and_pins(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = fetch_weights(entry(server.url), tmp_path)
    assert file.read_bytes() == CONTENT
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.pt", "file.pt.json"]
    said = capsys.readouterr().err
    assert said.index("non-commercial") < said.index("sha256")
    assert "The terms." in said
    assert verify_weights(entry(server.url), tmp_path).against == "pin"
    fetch_weights(entry(server.url), tmp_path)
    assert len(server.ranges) == 1


def test_a_file_that_changed_after_its_first_download_is_refused(server: Server, tmp_path: Path) -> None:
    file = fetch_weights(entry(server.url), tmp_path)
    file.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(DepthrfError, match="refused"):
        verify_weights(entry(server.url), tmp_path)
    file.unlink()
    server.content = CONTENT[:-1] + b"y"
    with pytest.raises(DepthrfError, match="first download"):
        fetch_weights(entry(server.url), tmp_path)
    assert not file.exists()


def test_published_checksum_and_size(server: Server, tmp_path: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    good = entry(server.url, sha256=digest, size=len(CONTENT))
    fetch_weights(good, tmp_path)
    assert verify_weights(good, tmp_path).against == "manifest"
    for bad in (replace(good, sha256="0" * 64), replace(good, size=5)):
        other = tmp_path / "other"
        with pytest.raises(DepthrfError, match=r"SHA-256|bytes, expected"):
            fetch_weights(bad, other)
        assert list(other.iterdir()) == []


def test_cut_connection_is_continued(server: Server, tmp_path: Path) -> None:
    server.cut_after = [1_500_000]
    assert fetch_weights(entry(server.url), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1500000-"]


def test_cut_download_goes_on_in_the_next_run(server: Server, tmp_path: Path) -> None:
    server.cut_after = [1_000_000, 100, 100, 100]
    with pytest.raises(DepthrfError, match="run the command again"):
        fetch_weights(entry(server.url), tmp_path)
    assert not (tmp_path / "file.pt").exists()
    assert fetch_weights(entry(server.url), tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=1000300-"


def test_a_redirected_download_goes_on_too(server: Server, tmp_path: Path) -> None:
    """Zenodo, GitHub and Hugging Face all redirect to another address."""
    server.cut_after = [1_500_000]
    moved = entry(server.url.replace("/file.pt", "/moved"))
    assert fetch_weights(moved, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1500000-"]


def test_a_server_that_does_not_tell_the_length(server: Server, tmp_path: Path) -> None:
    """Only the published size or checksum can tell that the end is missing."""
    server.tells_length = False
    sized = entry(server.url, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    assert fetch_weights(sized, tmp_path / "whole").read_bytes() == CONTENT
    server.cut_after = [1_500_000]
    with pytest.raises(DepthrfError, match="has 1500000 bytes, expected"):
        fetch_weights(sized, tmp_path / "cut")


def test_a_finished_part_that_was_never_renamed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.pt.part").write_bytes(CONTENT)
    (tmp_path / "file.pt.part.json").write_text(json.dumps({"url": server.url, "validator": server.etag}))
    assert fetch_weights(entry(server.url), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.pt", "file.pt.json"]


def test_a_part_that_is_longer_than_the_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.pt.part").write_bytes(CONTENT + b"more")
    (tmp_path / "file.pt.part.json").write_text(json.dumps({"url": server.url, "validator": server.etag}))
    assert fetch_weights(entry(server.url), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_part_of_another_version_is_not_continued(server: Server, tmp_path: Path) -> None:
    server.cut_after = [1_000_000, 0, 0, 0]
    with pytest.raises(DepthrfError):
        fetch_weights(entry(server.url), tmp_path)
    server.content, server.etag = CONTENT[::-1], '"v2"'
    assert fetch_weights(entry(server.url), tmp_path).read_bytes() == CONTENT[::-1]


def test_not_found(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DepthrfError, match="404"):
        fetch_weights(entry(server.url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DepthrfError, match="Check the network"):
        fetch_weights(entry(f"http://127.0.0.1:{port}/file.pt"), tmp_path)


def test_disk_full(server: Server, tmp_path: Path) -> None:
    """A process that may write only 1 MB per file gets the message, keeps the part, and a later run completes it."""
    code = (
        "import sys, pathlib\n"
        "from tests.io.weights.test_manifest import entry\n"
        "from depthrf.io.weights.manifest import fetch_weights\n"
        "from depthrf.errors import DepthrfError\n"
        "try:\n    fetch_weights(entry(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        "except DepthrfError as e:\n    print(e)\n"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    command = [sys.executable, "-c", code, server.url, str(tmp_path)]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert "No room" in done.stdout, done.stderr
    assert not (tmp_path / "file.pt").exists()
    assert fetch_weights(entry(server.url), tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=1000000-"


def test_not_enough_room_is_told_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DepthrfError, match="No room"):
        fetch_weights(entry(server.url), tmp_path)


def test_commands(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`depthrf weights ...` end to end, with a manifest whose only file is the server's."""
    from typer.testing import CliRunner

    from depthrf.cli import app

    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "manifest", lambda: {"w": entry(server.url)})

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["weights", *arguments], standalone_mode=False)
        if result.exception:
            raise result.exception
        return result.stdout

    assert said("list").splitlines() == ["weights\tfor\tlicence\tfile", "w\tTitle\tnon-commercial\tnot here"]
    file = tmp_path / "cache" / "file.pt"
    assert said("path", "w").strip() == str(file)
    with pytest.raises(DepthrfError, match="depthrf weights fetch w"):
        said("verify", "w")
    assert said("fetch", "w").strip() == str(file)
    assert "the same as when first downloaded" in said("verify", "w")
    assert said("list").splitlines()[1].endswith(f"\t{file}")
    file.write_bytes(b"another")
    with pytest.raises(DepthrfError, match="refused"):
        said("verify", "w")


def test_unwritable_folder(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a file where the folder should be")
    with pytest.raises(DepthrfError, match="DEPTHRF_WEIGHTS"):
        fetch_weights(entry(server.url), tmp_path / "f")


def test_manifest_matches_the_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from depthrf.depth.networks.catalogue import NETWORKS
    from depthrf.io.weights.learned_features import NAMES
    from depthrf.io.weights.perceptual import FILES

    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path))
    entries = module.manifest()
    assert set(entries) == {*NETWORKS, *NAMES, *(name for names in FILES.values() for name in names)}
    for name, network in NETWORKS.items():
        assert entries[name].kind == network.kind
        assert entries[name].url.startswith("https://")
        assert module.path(name) == tmp_path / entries[name].file
    assert not any(listed.present for listed in module.list_weights())
    with pytest.raises(UsageError, match="omnidata"):
        module.path("unknown")
    with pytest.raises(DepthrfError, match="weights fetch omnidata"):
        module.verify("omnidata")


def test_cache_folder_of_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DEPTHRF_WEIGHTS", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert module.folder() == tmp_path / "depthrf" / "weights"


@pytest.mark.parametrize(("target", "refused"), [("http://b/f", True), ("ftp://b/f", True), ("HTTPS://b/f", False)])
def test_a_redirect_does_not_leave_https(target: str, refused: bool) -> None:
    request = urllib.request.Request("https://a/f")
    follow = download._StaysSecure().redirect_request
    arguments = (request, io.BytesIO(), 302, "Found", http.client.HTTPMessage(), target)
    if refused:
        with pytest.raises(DepthrfError, match=f"sends on to {target}, which is not https"):
            follow(*arguments)
    else:
        followed = follow(*arguments)
        assert followed is not None
        assert followed.full_url == target
