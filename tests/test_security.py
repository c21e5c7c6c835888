"""Untrusted input never reaches a shell, a path or the internal network, and secrets never leak."""

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
# These start a shell or execute data.
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


def forbidden_calls(tree: ast.AST) -> list[str]:
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


def test_no_shell_and_no_execution_of_data() -> None:
    assert len(SOURCES) > 100
    found = {str(path.relative_to(ROOT)): forbidden_calls(ast.parse(path.read_text())) for path in SOURCES}
    # A loader or driver and its own workers, over file descriptors that no other process has.
    allowed = {
        "cluster/engine/actor.py": {"pickle.loads"},
        "cluster/engine/results.py": {"pickle.loads"},
        "models/reader/loader/batch_builder.py": {"pickle.loads"},
        "models/reader/loader/worker.py": {"pickle.loads"},
    }
    assert {path: set(names) for path, names in found.items() if names} == allowed


@pytest.mark.parametrize(
    "code", ["subprocess.run(x, shell=True)", "os.system(title)", "eval(x)", "run(['sh', '-c', url])"]
)
def test_detects_forbidden_calls(code: str) -> None:
    assert forbidden_calls(ast.parse(code))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    needs_weights()  # a run needs their hashes for its fingerprint
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_sync_film(path, container="mp4", seconds=2.0)
    return path.read_bytes()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_file_names_come_from_ids_not_from_urls(film: bytes, server: LoopbackServer, tmp_path: Path) -> None:
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
def test_file_name_with_shell_command_is_only_a_title(tmp_path: Path) -> None:
    needs_weights()
    films = tmp_path / "films"
    films.mkdir()
    shutil.copy(demo_clip("talks.mp4"), films / f"{EVIL}.mp4")
    flags = ("--set", "clip.require=speech")
    assert mien("add", films, folder=tmp_path / "here").returncode == 0
    done = mien("run", "--local", "--json", *flags, folder=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert not [name for name in files_below(tmp_path) if Path(name).name.startswith("pwned")]
    shards = list((tmp_path / "here" / "store" / "shards").glob("*.tar"))
    assert shards
    for shard in shards:
        with tarfile.open(shard) as archive:
            for member in archive:
                assert member.isfile()
                assert re.fullmatch(r"[A-Za-z0-9_-]+(\.[a-z_]+)+", member.name)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["argument", "list", "table"])
def test_private_address_is_rejected(how: str, film: bytes, server: LoopbackServer, tmp_path: Path) -> None:
    server.pages["/a.mp4"] = [Reply(body=film)]
    address = what = server.url("/a.mp4")
    if how != "argument":
        what = "list.txt" if how == "list" else "table.csv"
        (tmp_path / what).write_text(("" if how == "list" else "url\n") + address + "\n")
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
    """Runs a command in this process. Returns all its output, including its error."""
    done = CliRunner().invoke(cli, list(arguments), env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit | MienError), done.exception
    return f"{done.output}{done.exception}"


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "unreachable"])
@pytest.mark.parametrize("given", ["file", "environment"])
def test_proxy_password_does_not_leak(
    given: str,
    outcome: str,
    film: bytes,
    server: LoopbackServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither into the store (catalog, cache, logs) nor into the output of any command."""
    address = "http://films.example/a.mp4"
    status = 200 if outcome == "accepted" else 407
    server.pages[address] = [Reply(status=status, body=film, headers={"Server": "a proxy"})]
    port = closed_port() if outcome == "unreachable" else server.port
    proxy = f"http://someone:{quote(PASSWORD)}@127.0.0.1:{port}"
    settings = "[fetch]\nattempts = 1\ntimeout_seconds = 5\n"
    environment = {}
    if given == "file":
        settings += f'[[acquire.identities]]\nname = "out"\nproxy = "{proxy}"\n'
    else:
        environment = {"http_proxy": proxy, "no_proxy": ""}
    (tmp_path / "mien.toml").write_text(settings)
    own = {"MIEN_CONFIG": str(tmp_path / "mien.toml"), "MIEN_STORE__ROOT": str(tmp_path / "store")}
    printed = [in_process("add", address, **own)]
    monkeypatch.setattr("mien.cluster.runner.observer.WAIT_FOR_RETRY_SECONDS", 0.0)  # do not wait for a retry
    printed.append(in_process("run", "--only", "fetch", "--local", "--json", **own, **environment))
    asked = [(*arguments, *([address] if "explain" in arguments else [])) for arguments in COMMANDS]
    printed += [in_process(*arguments, **own) for arguments in asked]
    if outcome == "unreachable":  # found before any request
        assert f"127.0.0.1:{port} does not work" in printed[1]
        facts = {}
    else:
        facts = json.loads(printed[1][printed[1].index("{") : printed[1].rindex("}") + 1])
    if outcome == "accepted":
        assert facts["media_seconds"] > 1.0
        shown = base64.b64encode(f"someone:{PASSWORD}".encode()).decode()
        assert server.requests[0].headers["proxy-authorization"] == f"Basic {shown}"
    elif outcome == "rejected":
        (kind,) = facts["video_errors"]
        assert kind in {"ProxyError", "IncompleteTransferError"}
        assert facts["videos"]["waiting"] == 1  # it can succeed when the proxy is fixed
    secrets = [PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), PASSWORD[:7]]
    secrets.append(base64.b64encode(f"someone:{PASSWORD}".encode()).decode())
    for secret in secrets:
        assert not [text for text in printed if secret in text]
        for path in (tmp_path / "store").rglob("*"):
            with contextlib.suppress(IsADirectoryError):
                assert secret.encode() not in path.read_bytes(), path
