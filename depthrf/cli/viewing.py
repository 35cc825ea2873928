"""The command `view`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from depthrf import console, pipeline
from depthrf.cli.shared import DeviceOpt, WorkspaceArg
from depthrf.errors import DepthrfError, UsageError
from depthrf.workspace import open_workspace

if TYPE_CHECKING:
    import torch

    from depthrf.viewer.server import Viewer

_LOOPBACK = "127.0.0.1"
_LOOK_S = 2.0


def view(
    workspace: WorkspaceArg,
    *,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; 0.0.0.0: whoever reaches this machine may look.")
    ] = _LOOPBACK,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port, or the next free one.")] = 8080,
    device: DeviceOpt = None,
) -> None:
    """Opens the trained scene in the browser: walk around, stand where photos were taken, make a camera path.

    While depthrf train goes on elsewhere, each of its checkpoints is shown as it comes.
    """
    opened = open_workspace(workspace)
    pipeline.check_run(opened, "view", ("sfm",))
    if not opened.checkpoint.is_file():
        raise UsageError(f"view needs a trained field. Run: depthrf train {workspace}")
    try:
        import viser  # noqa: F401
    except ImportError:
        raise UsageError("The viewer needs viser. Run: pip install 'depthrf[view]'") from None
    from depthrf.device import resolve
    from depthrf.io.trained_field import load_field
    from depthrf.viewer.content import load_content
    from depthrf.viewer.server import serve

    target = resolve(device or "auto")
    state = opened.checkpoint.stat().st_mtime_ns
    viewer = serve(load_content(opened), load_field(opened.checkpoint, target), host, port)
    shown = host if host not in ("0.0.0.0", "::") else _LOOPBACK
    console.result(f"http://{shown}:{viewer.port}")
    if host == _LOOPBACK:
        console.note(
            f"From another machine: ssh -L {viewer.port}:localhost:{viewer.port} THIS_MACHINE, then the same address"
        )
    console.note("Ctrl-C ends it.")
    try:
        while True:
            time.sleep(_LOOK_S)
            state = _renew(viewer, opened.checkpoint, state, target)
    finally:
        viewer.stop()


def _renew(viewer: Viewer, checkpoint: Path, shown: int, target: torch.device) -> int:
    """Shows the checkpoint if it is newer than what is shown; returns the time of what is shown then."""
    from depthrf.io.trained_field import load_field

    try:
        found = checkpoint.stat().st_mtime_ns
        if found != shown:
            viewer.renew(load_field(checkpoint, target))
    except (OSError, DepthrfError):  # training has put it away to begin anew
        return shown
    return found
