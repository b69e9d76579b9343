"""The command `trajstore`: the commands of every installed package, and what becomes of an error."""

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

import typer

from trajstore import __version__
from trajstore.errors import TrajstoreError
from trajstore.output import say

GROUP = "trajstore.commands"
DEBUG = "--debug"
INTERRUPTED = 130
SEVERAL_VALUES = frozenset({"--train", "--test"})
UsageMistake = typer.BadParameter.__mro__[1]  # typer keeps its base of wrong usage to itself


@dataclass(frozen=True, slots=True)
class Failure:
    """What a person is told of an error, and the exit code that a script sees."""

    sentence: str
    exit_code: int


def main() -> None:
    """Run the command line of this process, and end it with the command's exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # streams of a process are TextIOWrapper
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Carry out one command line; returns its exit code, after one sentence on stderr where something failed."""
    is_debug, words = _without_debug(words)
    try:
        return _carry_out(words)
    except BrokenPipeError:
        return _leave_quietly()
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - the last resort: a person gets a sentence
        if is_debug:
            traceback.print_exception(error)
        failure = explain(error)
    say(failure.sentence)
    return failure.exit_code


def explain(error: BaseException) -> Failure:
    """Put an error into one sentence.

    >>> explain(OSError(13, "Permission denied", "x.json"))
    Failure(sentence='x.json: Permission denied', exit_code=1)
    """
    if isinstance(error, TrajstoreError):
        return Failure(str(error), error.exit_code)
    if isinstance(error, UsageMistake):
        return Failure(_usage(error), 2)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Failure("interrupted", INTERRUPTED)
    if isinstance(error, OSError) and error.strerror:
        return Failure(f"{error.filename}: {error.strerror}" if error.filename else error.strerror, 1)
    if isinstance(error, MemoryError):
        return Failure("there is not enough memory for this: try with fewer or smaller files", 1)
    return Failure(
        f"unexpected error ({type(error).__name__}: {error}): run again with {DEBUG}, and please report what it prints",
        1,
    )


def assemble(command: str = "") -> typer.Typer:
    """Make one app of the commands of all packages that have the entry point, up to that which has `command`.

    So `trajstore ingest` never waits for what only the selector needs.
    """
    app = typer.Typer(
        name="trajstore", pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    app.callback()(_global_options)
    for point in _packages():
        try:
            loaded: typer.Typer = point.load()
        except (ImportError, AttributeError) as error:
            say(f"the commands of {point.name} are missing: {error}")
            continue
        app.add_typer(loaded)
        if command in _names(loaded):
            break
    return app


def _names(app: typer.Typer) -> set[str]:
    """The names of an app's commands, given or made from their functions as typer does."""
    commands = app.registered_commands
    return {command.name or str(getattr(command.callback, "__name__", "")).replace("_", "-") for command in commands}


def _packages() -> list[EntryPoint]:
    """Entry points by value, so that a package that is found twice counts once; the store's own come first."""
    by_value = {point.value: point for point in entry_points(group=GROUP)}
    return sorted(by_value.values(), key=lambda point: (point.name != "trajstore", point.name))


def _carry_out(words: Sequence[str]) -> int:
    app = assemble(words[0] if words else "")
    code = app(args=_repeat_options(words) or ["--help"], prog_name="trajstore", standalone_mode=False)
    sys.stdout.flush()
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _without_debug(words: Sequence[str]) -> tuple[bool, list[str]]:
    """Take --debug out wherever it stands, so that it can be added to the end of a command that failed."""
    end = words.index("--") if "--" in words else len(words)
    return DEBUG in words[:end], [word for place, word in enumerate(words) if word != DEBUG or place > end]


def _repeat_options(words: Sequence[str]) -> list[str]:
    """Let an option of several values take them in a row; what follows "--" is another program's.

    >>> _repeat_options(["evaluate", "--train", "a", "b", "--json"])
    ['evaluate', '--train', 'a', '--train', 'b', '--json']
    >>> _repeat_options(["mcp-proxy", "--", "server", "--train", "a", "b"])
    ['mcp-proxy', '--', 'server', '--train', 'a', 'b']
    """
    end = words.index("--") if "--" in words else len(words)
    spread: list[str] = []
    option = ""
    for word in words[:end]:
        if word.startswith("-") and word != "-":
            option = word if word in SEVERAL_VALUES else ""
            spread += [] if option else [word]
        else:
            spread += [option, word] if option else [word]
    return [*spread, *words[end:]]


def _leave_quietly() -> int:
    """Whoever read the output has gone (`| head`): nobody is left to tell, and Python must not complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _usage(error: BaseException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "trajstore"
    message = error.format_message().rstrip(".")  # type: ignore[attr-defined]  # every mistake in usage has it
    return f"{command}: {message[:1].lower()}{message[1:]}; see {command} --help"


def _print_version(*, is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"trajstore {__version__}")
        raise typer.Exit


def _global_options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error.")] = False,
) -> None:
    """Store what tool-using agents did, find it again, and choose the next tool from it.

    Data goes to stdout (JSON with --json), talk to stderr.
    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 damaged data found.
    """
