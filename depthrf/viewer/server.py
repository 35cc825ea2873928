"""The viewer's server: the panel beside the scene, and one walk for each browser."""

from __future__ import annotations

import contextlib
import errno
import io
import socket
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from depthrf.errors import DepthrfError
from depthrf.io.trained_field import TrainedField
from depthrf.viewer.content import Content
from depthrf.viewer.objects import add_objects, fov_of
from depthrf.viewer.path_editor import PathEditor
from depthrf.viewer.renderer import Eye, Renderer
from depthrf.viewer.walk import Walk

if TYPE_CHECKING:
    import viser

_PORTS = 100  # that are tried
_TAKEN = {errno.EADDRINUSE, errno.EACCES}
_FPS = 20.0  # of a path's preview


@dataclass
class Viewer:
    """A running server; ``walks`` by the browser's number."""

    server: viser.ViserServer
    port: int
    content: Content
    renderer: Renderer
    walks: dict[int, Walk] = field(default_factory=dict)
    curves: dict[int, Any] = field(default_factory=dict)

    def renew(self, trained: TrainedField) -> None:
        """Shows a later state of the field in all browsers, and how training went."""
        self.renderer.show(trained)
        for number, walk in list(self.walks.items()):
            walk.renew()
            if (curve := self.curves.get(number)) is not None:
                curve.data = self.content.curve()

    def stop(self) -> None:
        """Ends the server and its threads."""
        for walk in self.walks.values():
            walk.stop()
        self.server.stop()


def serve(content: Content, trained: TrainedField, host: str, port: int) -> Viewer:
    """Starts the viewer at ``port``, or at the next that is free.

    Raises:
        DepthrfError: None of a hundred ports is free, or the host is not one of this machine's.
    """
    import viser

    found = free_port(host, port)
    renderer = Renderer(trained, cache(content.seen))
    start = content.views[len(content.views) // 2]
    renderer.moving(Eye(start.cam_from_world, fov_of(start), 1.0))  # compiles, before anybody waits for it
    with contextlib.redirect_stdout(io.StringIO()):  # where its banner goes, and we print results
        server = viser.ViserServer(host=host, port=found, label="depthrf", verbose=False)
    viewer = Viewer(server, server.get_port(), content, renderer)
    server.gui.configure_theme(control_layout="collapsible", dark_mode=True, show_logo=False)
    server.scene.set_up_direction(np.asarray(content.up))

    @server.on_client_connect
    def _(client: viser.ClientHandle) -> None:
        walk = viewer.walks[client.client_id] = Walk(client, viewer.renderer)
        add_objects(client, content, walk)
        _add_panel(viewer, client, walk)
        walk.stand(start.cam_from_world, content.reach, fov_of(start))

    @server.on_client_disconnect
    def _(client: viser.ClientHandle) -> None:
        viewer.curves.pop(client.client_id, None)
        if (walk := viewer.walks.pop(client.client_id, None)) is not None:
            walk.stop()

    return viewer


def _add_curve(gui: Any, content: Content) -> Any:
    """The PSNR of training's batches by step, in a folder that is closed at first; None where there are none."""
    from viser import uplot

    data = content.curve()
    if not len(data[0]):
        return None
    with gui.add_folder("Training", expand_by_default=False):
        return gui.add_uplot(
            data=data,
            series=(uplot.Series(label="step"), uplot.Series(label="PSNR, dB", stroke="#e6a028", width=2)),
            scales={"x": uplot.Scale(time=False)},
            aspect=1.6,
        )


def free_port(host: str, port: int) -> int:
    """The first free port from ``port`` on.

    Raises:
        DepthrfError: As :func:`serve`.
    """
    for candidate in range(port, min(port + _PORTS, 65536)):
        try:
            address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
            with socket.socket(address[0], address[1]) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address[4])
        except socket.gaierror as e:
            raise DepthrfError(f"{host!r} is not an address of this machine: {e.strerror}") from None
        except OSError as e:
            if e.errno not in _TAKEN:
                raise DepthrfError(f"Cannot listen at {host}, port {candidate}: {e.strerror}") from None
        else:
            return candidate
    raise DepthrfError(f"No port from {port} to {min(port + _PORTS, 65536) - 1} is free. Give another one with --port.")


def _add_panel(viewer: Viewer, client: viser.ClientHandle, walk: Walk) -> None:
    """One browser's own switches: the field, and its path."""
    gui, editor, content = client.gui, PathEditor(), viewer.content
    show_field = gui.add_checkbox("Field", initial_value=True)
    show_field.on_update(lambda _: walk.show_field(show_field.value))
    show_trust = gui.add_checkbox(
        "Trust", initial_value=False, hint="Red: no photo saw this. Amber: only one photo did."
    )
    show_trust.on_update(lambda _: walk.show_trust(show_trust.value))
    if (curve := _add_curve(gui, content)) is not None:
        viewer.curves[client.client_id] = curve
    with gui.add_folder("Path"):
        gap = gui.add_number("Seconds from the last", initial_value=2.0, min=0.1, max=600.0, step=0.1)
        add = gui.add_button("Add keyframe here")
        remove = gui.add_button("Remove the last")
        preview = gui.add_button("Preview")
        name = gui.add_text("Name", initial_value="my path")
        save = gui.add_button("Save")
        said = gui.add_markdown("No keyframes yet.")

    def tell() -> None:
        count, length = len(editor.eyes), sum(editor.gaps[1:])
        said.content = f"{count} keyframe{'s' * (count != 1)}, {length:g} s" if count else "No keyframes yet."

    @add.on_click
    def _(_: Any) -> None:
        editor.add(walk.eye, float(gap.value))
        tell()

    @remove.on_click
    def _(_: Any) -> None:
        editor.remove_last()
        tell()

    @preview.on_click
    def _(_: Any) -> None:
        with contextlib.suppress(KeyError):  # a browser that went away meanwhile
            walk.play(editor.sample(content.reach / 0.6, _FPS, walk.eye.aspect), _FPS, content.reach)

    @save.on_click
    def _(_: Any) -> None:
        try:
            path = editor.save(content.workspace.root / "paths", name.value)
        except (DepthrfError, OSError) as e:
            said.content = str(e)
            return
        said.content = f"Saved. `depthrf render {content.workspace.root} --path '{path}'`"
