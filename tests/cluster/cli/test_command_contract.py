"""Contract tests over all commands: a new command is tested by being listed."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from mien.cluster.cli.main import COMMANDS, cli

# Modules that are too slow to import before a command runs.
HEAVY = (
    "av",
    "cv2",
    "numpy",
    "ray",
    "onnxruntime",
    "faster_whisper",
    "ctranslate2",
    "pyarrow",
    "sqlalchemy",
    "pydantic",
    "httpx",
    "rich",
    "scipy",
    "sqlalchemy.orm",
    "structlog",
    "torch",
    "yt_dlp",
)


def leaf_names() -> list[str]:
    weights = ("weights list", "weights pull", "weights path")
    shards = ("shards ls", "shards show", "shards stats", "shards export")
    return [*COMMANDS, *weights, *shards, "config show", "config fingerprint"]


def find(path: str) -> click.Command:
    found: click.Command = cli
    for name in path.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), name)
        assert inner is not None
        found = inner
    return found


def walk(command: click.Command, path: str) -> Iterator[str]:
    yield path
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from walk(inner, f"{path} {name}")


@pytest.mark.parametrize("path", leaf_names())
def test_command_has_summary_example_and_help(path: str) -> None:
    command = find(path)
    text = " ".join((command.help or "").split("\f")[0].split("\n\n")[0].split())
    assert text.endswith("."), "one sentence"
    assert ". " not in text, "one sentence"
    assert f"mien {path}" in (command.epilog or ""), "an example"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"help for {parameter.opts}"
    shown = CliRunner().invoke(cli, [*path.split(), "--help"])
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize("path", leaf_names())
def test_every_command_has_json(path: str) -> None:
    command = find(path)
    if not isinstance(command, click.Group):
        assert "--json" in {name for option in command.params for name in option.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_is_listed_here(name: str) -> None:
    assert set(walk(find(name), name)) <= {*leaf_names()}


@pytest.mark.parametrize("name", COMMANDS)
def test_summary_is_listed_in_help(name: str) -> None:
    assert COMMANDS[name].endswith(".")
    assert COMMANDS[name] in " ".join(CliRunner().invoke(cli, ["--help"]).output.split())


@pytest.mark.parametrize("arguments", [[], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom mien.cluster.cli import main\n"
        "try:\n    main(sys.argv[1:] or ['--help'])\nexcept SystemExit as error:\n    code = error.code\n"
        f"print(code, sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr == "0 []\n"
