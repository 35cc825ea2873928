"""The command line: flags to options, errors to one message and an exit code. Only this package imports typer."""

from __future__ import annotations

import _thread
import errno
import io
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from depthrf import __version__, console, process
from depthrf.cli import add, batch, bench, film, insight, measuring, reports, runs, tools, viewing
from depthrf.cli.help import GroupedCommands, GroupedHelp, with_common_flags
from depthrf.cli.stage_commands import stage_command, stage_help
from depthrf.errors import DepthrfError
from depthrf.stages.stage import STAGES

_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="depthrf",
    help="From a handful of ordinary photos to a video that flies through the scene.",
    cls=GroupedCommands,
    context_settings=_SETTINGS,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _add(heading: str, *commands: Callable[..., None], name: str | None = None, text: str | None = None) -> None:
    for command in commands:
        declare = app.command(name, help=text, cls=GroupedHelp, context_settings=_SETTINGS, rich_help_panel=heading)
        declare(with_common_flags(command))


_add("From photos to a film", runs.check, insight.plan, runs.reconstruct, batch.batch, runs.demo)
_OWN = {"ingest": runs.ingest, "render": film.render}  # the others have the same flags as their stage has options
for _stage in STAGES:
    _add("Stage by stage", _OWN.get(_stage) or stage_command(_stage), name=_stage, text=stage_help(_stage))
for _stage, _command in {"evaluate": runs.evaluate, "export": runs.export}.items():
    _add("What came of it", _command, name=_stage, text=stage_help(_stage))
_add("What came of it", add.add, reports.report, insight.explain, measuring.measure, viewing.view)
app.add_typer(tools.plot_app, name="plot", rich_help_panel="What came of it")
_add("Around it", tools.doctor, insight.options)
app.add_typer(tools.weights_app, name="weights", rich_help_panel="Around it")
app.add_typer(bench.app, name="bench", rich_help_panel="Around it")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("-V", "--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"depthrf {__version__}")
        raise typer.Exit


_SYSTEM_LIBRARIES = {
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1",
    "libX11.so": "libx11-6",
    "libgthread": "libglib2.0-0",
    "libglib": "libglib2.0-0",
    "libgomp": "libgomp1",
    "libusb": "libusb-1.0-0",
}


_ADVICE = dict.fromkeys(
    (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS),
    "Make room or give permission, and run it again.",
) | dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP), "Give another name.")
_ADVICE |= dict.fromkeys(
    (errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
    "Something else lies where depthrf keeps a file or folder of its own. Move it away, and run it again.",
)
_OUT_OF_MEMORY = (
    "The memory of this machine is not enough. Use smaller or fewer photos, or a smaller preset; `depthrf plan` tells "
    "what every stage needs."
)
_NOT_ON_WINDOWS = (
    "depthrf needs the signals, processes and file locks of Linux or macOS. On Windows, run it in WSL2 or in the image."
)
_INTERRUPTED = 130
_INTERRUPTION = "Interrupted. Run the same command again to go on."


def main() -> None:
    """Entry point of the ``depthrf`` command."""
    if sys.platform == "win32":
        _fail(_NOT_ON_WINDOWS, 2)
    process.tune()
    allow_any_name()
    sys.unraisablehook = _interrupt_again
    with process.Leaving(_INTERRUPTION) as leaving:
        _run(leaving)


def _run(leaving: process.Leaving) -> None:
    """The command, with what it raises as one message and an exit code."""
    try:
        # Newer versions of typer return the exit code of an interruption instead of raising it.
        if code := app(prog_name="depthrf", standalone_mode=False):
            raise KeyboardInterrupt if code == _INTERRUPTED else SystemExit(code)
    except DepthrfError as e:
        _fail(str(e), e.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail(_INTERRUPTION, leaving.code)
    except MemoryError:
        _fail(_OUT_OF_MEMORY, 1)
    except OSError as e:
        if e.errno not in _ADVICE:
            raise
        where = f" {e.filename2 or e.filename}" if e.filename else ""  # of a rename, what should get the name
        _fail(f"Cannot write or read{where}: {e.strerror}. {_ADVICE[e.errno]}", 1)
    except ImportError as e:
        package = next((deb for name, deb in _SYSTEM_LIBRARIES.items() if name in str(e)), None)
        if package is None:
            raise
        _fail(f"A system library is missing: {e}. On Debian or Ubuntu: apt-get install {package}", 1)
    except Exception as e:
        if "DefaultCPUAllocator" in str(e):  # torch has no exception of its own for it
            _fail(_OUT_OF_MEMORY, 1)
        if not hasattr(e, "format_message"):  # not a message of the argument parser
            raise
        _fail(e.format_message(), 2)


def allow_any_name() -> None:
    """Lets paths that are not UTF-8 reach a script as they are."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


def _interrupt_again(ignored: sys.UnraisableHookArgs) -> None:
    """Repeats a Ctrl-C that arrived in a callback from C code, where Python drops the exception."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        _thread.interrupt_main()
    else:
        sys.__unraisablehook__(ignored)


def _fail(message: str, code: int) -> None:
    if console.is_verbose() and not isinstance(sys.exception(), KeyboardInterrupt | typer.Abort):
        for line in traceback.format_exc().splitlines():
            console.detail(line)
    console.error(message)
    sys.exit(code)
