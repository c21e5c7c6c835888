"""The group of commands. Turns every error into one line and an exit code."""

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
EXIT_INTERNAL_ERROR = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

COMMANDS = {
    "demo": "Turns three short sample films into shards, to show that everything works.",
    "doctor": "Checks this machine and says how to fix what is missing.",
    "search": "Searches YouTube and adds the videos found to the catalog.",
    "add": "Adds videos to the catalog: files, folders, URLs, labelled datasets, tables.",
    "run": "Turns the videos in the catalog into shards.",
    "status": "Shows what is done, what remains, what failed, and the yield.",
    "explain": "Shows what happened to every second of one video, and the original error messages.",
    "retry": "Puts failed videos back into the queue, and ends pauses of identities.",
    "verify": "Checks hash, index and samples of every committed shard.",
    "shards": "Lists, counts and exports samples in mien's shards or any other WebDataset.",
    "weights": "Lists and downloads model files, with their licences.",
    "config": "Shows the effective configuration and the origin of each value.",
}

EPILOG = """\b
Example: mien demo
Exit codes: 0 success; 1 error; 2 invalid request; 3 `mien run` finished, but some videos failed
or are still waiting; 70 internal error; 130 interrupted; 143 terminated."""


@click.group(
    cls=LazyGroup,
    lazy={name: (f"mien.cluster.cli.{name}", sentence) for name, sentence in COMMANDS.items()},
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    envvar="MIEN_LOG_FORMAT",
    show_envvar=True,
    help="Format of the log lines on stderr.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    envvar="MIEN_LOG_LEVEL",
    show_envvar=True,
    help="Minimum severity of log lines.",
)
@click.version_option(package_name="mien", message="mien %(version)s", help="Print the version.")
def cli(log_format: str, log_level: str) -> None:
    """Turns talking-face video into training shards."""
    # Logging is configured when a command starts its work (options.py): `--help` needs no structlog.


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits. An error is printed as one line, without a traceback."""
    _replace_missing_streams()
    code, stdout = EXIT_INTERNAL_ERROR, sys.stdout
    try:
        code = cli.main(
            args=None if arguments is None else list(arguments), prog_name="mien", standalone_mode=False
        )
        # click returns what the command returned, or its exit code.
        code = code if isinstance(code, int) else 0
        sys.stdout.flush()
    except MienError as error:
        code = _report(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = EXIT_USAGE
    except click.ClickException as error:
        code = _report(f"{error.format_message().rstrip('.')}{_usage_hint(error)}", EXIT_USAGE)
    except (KeyboardInterrupt, click.Abort):
        code = _report("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        code = _broken_pipe()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else EXIT_FAILED
        # click handles a broken pipe first. The only trace is that it replaced sys.stdout.
        if sys.stdout is not stdout:
            code = _broken_pipe()
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            code = _broken_pipe()
        else:
            file = _write_traceback(error)
            text = f"internal error: {type(error).__name__}: {error or 'no message'}"
            code = _report(f"{text}; please report it with the traceback in {file}", EXIT_INTERNAL_ERROR)
    sys.exit(code)


def _replace_missing_streams() -> None:
    """Connects closed standard streams to /dev/null, here and in child processes.

    Python sets a stream that the caller closed (`mien run >&-`) to None. Its file descriptor is free, so the
    next opened file would get it, and output meant for the stream would end up in that file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Gets the lowest free descriptor: the stream's own, because the ones before it are taken.
            null_file = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 (stays open)
            os.set_inheritable(null_file.fileno(), True)
            setattr(sys, name, null_file)


def _report(text: str, code: int) -> int:
    """Prints an error: as one line for people, or as a log line if logs are JSON."""
    line, logs = one_line(text, 2000), sys.modules.get("mien.cluster.logs")
    if logs is not None and logs.writes_json():
        logs.get_logger("mien.cli").error(line, exit_code=code)
    else:
        click.echo(f"mien: {line}", err=True)
    return code


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption) and error.option_name in {"--log-format", "--log-level"}:
        return f"; write it before the command: mien {error.option_name} …"
    return f"; see `{context.command_path} --help`" if context is not None else ""


def _write_traceback(error: BaseException) -> str:
    with tempfile.NamedTemporaryFile("w", prefix="mien-", suffix=".traceback", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    return file.name


def _broken_pipe() -> int:
    """The reader of stdout is gone. Prevents Python from failing when it flushes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE
