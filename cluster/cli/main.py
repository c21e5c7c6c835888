"""The group of commands, and the one place where an error becomes one line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from mien.cluster.cli.lazy import LazyGroup
from mien.ingest.errors import MienError, one_line

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DEFECT = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

COMMANDS = {
    "demo": "Turns three small real films into shards, to see everything work.",
    "doctor": "Checks this machine: what is there, what is not, and the cure.",
    "search": "Finds videos on YouTube by words, and adds them to the catalog.",
    "add": "Adds videos to the catalog: files, folders, URLs, corpora, tables.",
    "run": "Turns the catalog's videos into shards, until all are done.",
    "status": "Shows what is done, what is left, what failed, and the yield.",
    "explain": "Tells the story of one video: every attempt, every loss.",
    "retry": "Puts failed videos back into the queue, by class of failure.",
    "verify": "Checks committed shards against the catalog, byte for byte.",
    "shards": "Shows, counts and exports what is in shards: mien's own, or any WebDataset.",
    "weights": "Lists and downloads the model files, with their licences.",
    "config": "Shows the effective configuration and where each value is from.",
}

EPILOG = """\b
Example: mien demo
Exit codes: 0 done; 1 failed; 2 impossible as asked; 70 a defect of mien; 130 interrupted."""


@click.group(
    cls=LazyGroup,
    lazy={name: (f"mien.cluster.cli.{name}", sentence) for name, sentence in COMMANDS.items()},
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="mien", message="mien %(version)s", help="Prints the version.")
def cli() -> None:
    """Turns the open web's talking-face video into training shards."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits. No error leaves a traceback: one line, and a code that says why."""
    _replace_missing_streams()
    code, stdout = EXIT_DEFECT, sys.stdout
    try:
        code = cli.main(
            args=None if arguments is None else list(arguments), prog_name="mien", standalone_mode=False
        )
        # click answers with what a command returned, or with the code that it exited with.
        code = code if isinstance(code, int) else 0
        sys.stdout.flush()
    except MienError as error:
        code = _say(type(error).__name__, str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = EXIT_USAGE
    except click.ClickException as error:
        code = _say("UsageError", f"{error.format_message().rstrip('.')}{_see_help(error)}", EXIT_USAGE)
    except (KeyboardInterrupt, click.Abort):
        code = _say("Interrupted", "stopped by hand", EXIT_INTERRUPTED)
    except BrokenPipeError:
        code = _broken_pipe()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else EXIT_FAILED
        # click meets a broken pipe before us, and says so only by the stream it leaves behind.
        if sys.stdout is not stdout:
            code = _broken_pipe()
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            code = _broken_pipe()
        else:
            place = _keep_traceback(error)
            text = f"{error or 'no message'} (a defect of mien; the traceback is in {place})"
            code = _say(type(error).__name__, text, EXIT_DEFECT)
    sys.exit(code)


def _replace_missing_streams() -> None:
    """A stream that whoever started us has closed (`mien run >&-`) is None, and its number that of the next
    file to be opened, which everything that writes to the stream would then write into. It leads nowhere from
    now on, here and in the processes that are started: a stream like any other that is no terminal."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The least number that is free: this stream's own, since those before it are taken.
            nowhere = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 (open to the end)
            os.set_inheritable(nowhere.fileno(), True)
            setattr(sys, name, nowhere)


def _say(kind: str, text: str, code: int) -> int:
    click.echo(f"mien: {kind}: {one_line(text, 2000)}", err=True)
    return code


def _see_help(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"; see `{context.command_path} --help`" if context is not None else ""


def _keep_traceback(error: BaseException) -> str:
    with tempfile.NamedTemporaryFile("w", prefix="mien-", suffix=".traceback", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    return file.name


def _broken_pipe() -> int:
    """Whoever read has gone: nothing more can be said, and the exit must not try."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE
