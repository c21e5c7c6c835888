"""What comes from outside stays data: no shell, no path, no way into the own network, and no secret out."""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import re
import shutil
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from mien.cluster.cli import cli
from mien.ingest.errors import MienError
from tests.demo_media import demo_clip, needs_weights
from tests.ingest.fetch.server import LoopbackServer, Reply
from tests.mien_command import mien
from tests.sync_films import make_sync_film

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path for name in ("ingest", "pipelines", "models", "cluster") for path in (ROOT / name).rglob("*.py")
)
# Each either starts a shell, or runs what it reads.
FORBIDDEN = frozenset(
    {
        "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "eval", "exec",
        "asyncio.create_subprocess_shell", "pickle.load", "pickle.loads", "marshal.loads", "shelve.open",
        "dill.loads", "joblib.load",
    }
)  # fmt: skip
SHELLS = frozenset({"sh", "bash", "/bin/sh", "/bin/bash", "cmd", "cmd.exe", "powershell"})
EVIL = "$(touch pwned); touch pwned | `touch pwned` & touch pwned"
PASSWORD = "hunter2!+pass"  # noqa: S105


def faults(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in FORBIDDEN:
                found.append(name)
            shells = {ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "shell"}
            found += [f"{name}(shell={value})" for value in shells - {"False"}]
        elif isinstance(node, ast.List | ast.Tuple) and node.elts:
            first = node.elts[0]
            if isinstance(first, ast.Constant) and first.value in SHELLS:
                found.append(ast.unparse(node))
    return found


def test_nothing_starts_a_shell_or_runs_what_it_reads() -> None:
    assert len(SOURCES) > 100
    found = {str(path.relative_to(ROOT)): faults(ast.parse(path.read_text())) for path in SOURCES}
    # A loader and its own workers, and a driver and its own, over descriptors that only they have.
    between = {
        "cluster/engine/actor.py": {"pickle.loads"},
        "cluster/engine/backends/on_processes.py": {"pickle.loads"},
        "cluster/engine/backends/serving.py": {"pickle.loads"},
        "models/reader/loader/batch_builder.py": {"pickle.loads"},
        "models/reader/loader/worker.py": {"pickle.loads"},
    }
    assert {path: set(names) for path, names in found.items() if names} == between


@pytest.mark.parametrize(
    "code", ["subprocess.run(x, shell=True)", "os.system(title)", "eval(x)", "run(['sh', '-c', url])"]
)
def test_that_would_be_noticed(code: str) -> None:
    assert faults(ast.parse(code))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    needs_weights()  # their hashes are part of what a run is
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_sync_film(path, container="mp4", seconds=2.0)
    return path.read_bytes()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_file_names_come_from_ids_and_never_from_an_address(
    film: bytes, server: LoopbackServer, tmp_path: Path
) -> None:
    named = {"Content-Disposition": f'attachment; filename="../../{EVIL}.mp4"'}
    address = "/" + quote(f"../../..//{EVIL}", safe="") + ".mp4"
    server.pages[address] = [Reply(body=film, headers=named)]
    (tmp_path / "list.csv").write_text(f'url,title,x\n{server.url(address)},"../../{EVIL}","../../{EVIL}"\n')
    assert mien("add", "list.csv", folder=tmp_path).returncode == 0
    flags = ("--set", "fetch.allow_private_addresses=true")
    done = mien("run", "--only", "fetch", "--local", "--json", *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["media_seconds"] > 1.0
    assert [request.path for request in server.requests] == [address]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.csv", "store"]
    cached = [path.name for path in (tmp_path / "store" / "cache").iterdir() if path.name != ".lock"]
    (media,) = [name for name in cached if not name.endswith(".wanted")]
    assert re.fullmatch(r"[0-9a-f]{40}\.mp4", media)
    assert set(cached) == {media, f"{media}.wanted"}
    assert not list(tmp_path.parent.rglob("pwned*"))


@pytest.mark.slow
def test_a_name_that_is_a_command_is_a_title_and_nothing_else(tmp_path: Path) -> None:
    needs_weights()
    films = tmp_path / "films"
    films.mkdir()
    shutil.copy(demo_clip("talks.mp4"), films / f"{EVIL}.mp4")
    flags = ("--set", "clip.require=speech")
    assert mien("add", films, folder=tmp_path / "here").returncode == 0
    done = mien("run", "--local", "--json", *flags, folder=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert not [name for name in below(tmp_path) if Path(name).name.startswith("pwned")]
    shards = list((tmp_path / "here" / "store" / "shards").glob("*.tar"))
    assert shards
    for shard in shards:
        with tarfile.open(shard) as archive:
            for member in archive:
                assert member.isfile()
                assert re.fullmatch(r"[A-Za-z0-9_-]+(\.[a-z_]+)+", member.name)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["named", "in a list", "in a table"])
def test_a_private_address_is_refused_wherever_it_is_from(
    how: str, film: bytes, server: LoopbackServer, tmp_path: Path
) -> None:
    server.pages["/a.mp4"] = [Reply(body=film)]
    address = what = server.url("/a.mp4")
    if how != "named":
        what = "list.txt" if how == "in a list" else "table.csv"
        (tmp_path / what).write_text(("" if how == "in a list" else "url\n") + address + "\n")
    assert mien("add", what, folder=tmp_path).returncode == 0
    done = mien("run", "--only", "fetch", "--local", "--json", folder=tmp_path)
    assert json.loads(done.stdout)["video_errors"] == {"PrivateAddressError": 1}
    assert server.requests == []


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("explain",),
    ("explain", "--json"),
    ("config", "show"),
    ("config", "show", "--json"),
    ("retry", "--all"),
)


def in_process(*arguments: str, **environment: str) -> str:
    """All that a command says, its error as well."""
    done = CliRunner().invoke(cli, list(arguments), env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit | MienError), done.exception
    return f"{done.output}{done.exception}"


@pytest.mark.parametrize("outcome", ["through", "refused", "dead"])
@pytest.mark.parametrize("given", ["in the file", "in the environment"])
def test_a_proxys_password_is_nowhere_afterwards(
    given: str,
    outcome: str,
    film: bytes,
    server: LoopbackServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither below the store (catalog, cache, logs) nor in what any command prints."""
    address = "http://films.example/a.mp4"
    status = 200 if outcome == "through" else 407
    server.pages[address] = [Reply(status=status, body=film, headers={"Server": "a proxy"})]
    port = closed_port() if outcome == "dead" else server.port
    proxy = f"http://someone:{quote(PASSWORD)}@127.0.0.1:{port}"
    settings = "[fetch]\nattempts = 1\ntimeout_seconds = 5\n"
    environment = {}
    if given == "in the file":
        settings += f'[[acquire.identities]]\nname = "out"\nproxy = "{proxy}"\n'
    else:
        environment = {"http_proxy": proxy, "no_proxy": ""}
    (tmp_path / "mien.toml").write_text(settings)
    own = {"MIEN_CONFIG": str(tmp_path / "mien.toml"), "MIEN_STORE__ROOT": str(tmp_path / "store")}
    printed = [in_process("add", address, **own)]
    monkeypatch.setattr(
        "mien.cluster.runner.observer.WAIT_FOR_RETRY_SECONDS", 0.0
    )  # it need not wait for another try
    printed.append(in_process("run", "--only", "fetch", "--local", "--json", **own, **environment))
    asked = [(*arguments, *([address] if "explain" in arguments else [])) for arguments in COMMANDS]
    printed += [in_process(*arguments, **own) for arguments in asked]
    if outcome == "dead":  # which is found out before anything is asked
        assert f"127.0.0.1:{port} does not serve" in printed[1]
        facts = {}
    else:
        facts = json.loads(printed[1][printed[1].index("{") : printed[1].rindex("}") + 1])
    if outcome == "through":
        assert facts["media_seconds"] > 1.0
        shown = base64.b64encode(f"someone:{PASSWORD}".encode()).decode()
        assert server.requests[0].headers["proxy-authorization"] == f"Basic {shown}"
    elif outcome == "refused":
        (kind,) = facts["video_errors"]
        assert kind in {"ProxyError", "IncompleteTransferError"}
        assert facts["videos"]["waiting"] == 1  # it may be had once the proxy is right
    secrets = [PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), PASSWORD[:7]]
    secrets.append(base64.b64encode(f"someone:{PASSWORD}".encode()).decode())
    for secret in secrets:
        assert not [text for text in printed if secret in text]
        for path in (tmp_path / "store").rglob("*"):
            with contextlib.suppress(IsADirectoryError):
                assert secret.encode() not in path.read_bytes(), path
