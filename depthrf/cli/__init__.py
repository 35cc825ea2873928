"""The command line: flags to options, errors to one message and an exit code. Only this package imports typer."""

from __future__ import annotations

import _thread
import errno
import sys
from typing import Annotated

import typer

from depthrf import __version__, console, process
from depthrf.cli import runs, tools
from depthrf.cli.flags import GroupedHelp
from depthrf.cli.stage_commands import STAGE_HELP, stage_command
from depthrf.errors import DepthrfError

app = typer.Typer(
    name="depthrf",
    help="From a handful of ordinary photos to a video that flies through the scene.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in (runs.reconstruct, runs.demo, runs.check, runs.evaluate, runs.export, tools.bench, runs.ingest):
    app.command(cls=GroupedHelp)(_command)
for _stage, _help in STAGE_HELP.items():
    app.command(_stage, help=_help)(stage_command(_stage))
app.command()(tools.doctor)
app.add_typer(tools.weights_app, name="weights")
app.add_typer(tools.plot_app, name="plot")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
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


_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
_INTERRUPTED = 130


def main() -> None:
    """Entry point of the ``depthrf`` command."""
    process.tune()
    sys.unraisablehook = _interrupt_again
    try:
        # Newer versions of typer return the exit code of an interruption instead of raising it.
        if code := app(standalone_mode=False):
            raise KeyboardInterrupt if code == _INTERRUPTED else SystemExit(code)
    except DepthrfError as e:
        _fail(str(e), e.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("Interrupted. Run the same command again to go on.", _INTERRUPTED)
    except OSError as e:
        if e.errno not in _OF_THE_DISK:
            raise
        where = f" {e.filename}" if e.filename else ""
        _fail(f"Cannot write or read{where}: {e.strerror}. Make room or give permission, and run it again.", 1)
    except ImportError as e:
        package = next((deb for name, deb in _SYSTEM_LIBRARIES.items() if name in str(e)), None)
        if package is None:
            raise
        _fail(f"A system library is missing: {e}. On Debian or Ubuntu: apt-get install {package}", 1)
    except Exception as e:
        if not hasattr(e, "format_message"):  # not a message of the argument parser
            raise
        _fail(e.format_message(), 2)


def _interrupt_again(ignored: sys.UnraisableHookArgs) -> None:
    """Ctrl-C while C code calls back, as a compiler does, cannot be raised there and would be lost."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        _thread.interrupt_main()
    else:
        sys.__unraisablehook__(ignored)


def _fail(message: str, code: int) -> None:
    from rich.text import Text

    console.console().print(Text.assemble(("error: ", "bold red"), message))
    sys.exit(code)
