"""The command `framehook`, its exit statuses and its error messages."""

import io
import logging
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Any

import click

from framehook import FramehookError, Plugins, RunError, StageError, UsageError, did_you_mean, load_plugins

_HELP_WIDTH = 90
_ENDINGS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
_ONE_END_SECONDS = 30.0
OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


_COMMANDS = {
    "analyze": "Analyse recordings, streams or cameras.",
    "bench": "Time decoding, detection and the whole pipeline on this machine.",
    "demo": "Analyse a short clip made of a photograph.",
    "doctor": "Say what this machine has, and what is wrong with it.",
    "evaluate": "Measure age and gender on labelled pictures, the whole way that inference goes.",
    "plugins": "List the installed plugins, and show their options.",
    "prepare": "Make faces to train on out of labelled pictures.",
    "train": "Train a network on prepared faces.",
}
"""Our own commands, each in the module of its name, with the first sentence of its help."""


class _Commands(click.Group):
    """A group whose own commands are imported when they are run, and that suggests the nearest one for a mistyped one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.givers: dict[str, str] = {}
        """The plugin that each added command is of."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (FramehookError, click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            name = ctx.invoked_subcommand or ""
            if name not in self.givers:
                raise
            what = f"{type(error).__name__}: {error}"
            raise StageError(f"command '{name}' of plugin '{self.givers[name]}' failed: {what}") from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*_COMMANDS, *super().list_commands(ctx)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(f"framehook_cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        others = {name: command.get_short_help_str(limit=_HELP_WIDTH) for name, command in self.commands.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted({**others, **_COMMANDS}.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            ctx.fail(f"no such command '{args[0]}'{did_you_mean(args[0], names)} (there are: {', '.join(names)})")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="framehook", message="%(prog)s %(version)s")
def cli() -> None:
    """Analyse video: find faces, follow them, estimate apparent age and gender."""


def main() -> None:
    """Run the command line and exit with its status."""
    end = _End()
    for kind in _ENDINGS:
        if signal.getsignal(kind) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(kind, end)
    _open_streams()
    status = run(sys.argv[1:])
    for kind in (*_ENDINGS, *([signal.SIGINT] if status == INTERRUPTED else [])):  # who asks twice wants no traceback
        if signal.getsignal(kind) is not signal.SIG_IGN:
            signal.signal(kind, signal.SIG_DFL)
    try:
        sys.stdout.flush()
    except OSError as error:  # its disk is full; or the reader, such as `head`, has gone
        if not isinstance(error, BrokenPipeError):
            click.echo(f"framehook: not all of standard output could be written: {error.strerror or error}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


class _End:
    """Ends as Ctrl-C does. Who stops a container or closes a terminal often sends several signals: those are one."""

    def __init__(self) -> None:
        self._until = -math.inf

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # Not for good: an exception that falls into a callback of the garbage collector is lost, and somebody will ask again.
        if time.monotonic() > self._until:
            self._until = time.monotonic() + _ONE_END_SECONDS
            raise KeyboardInterrupt


def _open_streams() -> None:
    """Have standard output and error, which a caller may have closed, and which may not know the letters of a name."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - as long as the process lives
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit status: 0 done, 1 the run failed, 2 wrong usage, 130 interrupted."""
    verbose = "--verbose" in arguments
    logging.basicConfig(format="framehook: %(message)s", level=logging.INFO if verbose else logging.WARNING)
    try:
        installed = load_plugins()
        _add_plugin_commands(installed)
        # Handed down, so that a command does not look for plugins a second time.
        result = cli.main(list(arguments), prog_name="framehook", standalone_mode=False, obj=installed)
    except (KeyboardInterrupt, click.Abort):
        click.echo("framehook: interrupted", err=True)
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message(), err=True)
        return WRONG_USAGE
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code, verbose=verbose, hint=_help_of(error))
    except UsageError as error:
        return _fail(str(error), WRONG_USAGE, verbose=verbose)
    except RunError as error:
        return _fail(str(error), FAILED, verbose=verbose)
    except BrokenPipeError:
        return OK
    except Exception as error:
        what = f"an error that should not happen: {type(error).__name__}: {error} (--verbose shows where)"
        return _fail(what, FAILED, verbose=verbose)
    return int(result or OK)


def _fail(message: str, status: int, *, verbose: bool, hint: str = "") -> int:
    if verbose:
        traceback.print_exc()
    click.echo(f"framehook: {' '.join(message.split())}{hint}", err=True)
    return status


def _help_of(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see '{context.command_path} --help')" if context is not None else ""


def _add_plugin_commands(installed: Plugins) -> None:
    log = logging.getLogger("framehook")
    for implementation in installed.manager.hook.framehook_register_commands.get_hookimpls():
        plugin, before = implementation.plugin_name, dict(cli.commands)
        try:
            implementation.function(cli)
        except (Exception, SystemExit) as error:  # a broken plugin must not take the other commands along
            log.warning("the commands of plugin '%s' are not there: %s", plugin, error)
        for name in {name for name, command in cli.commands.items() if before.get(name) is not command}:
            if name not in _COMMANDS and cli.givers.setdefault(name, plugin) == plugin:
                continue
            log.warning("plugin '%s' offers a command '%s', which there is already: it is left out", plugin, name)
            cli.commands.pop(name)
            cli.commands.update({name: before[name]} if name in before else {})
