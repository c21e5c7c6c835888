"""A real PostgreSQL server for tests, on loopback and in a temporary folder."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

USER = "mien"
PASSWORD = "swordfish-7391"  # noqa: S105 (the server exists for one test run only)
START_SECONDS = 180
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=60")


class Server:
    """A server that can be stopped and restarted on the same port and data."""

    def __init__(self, command: list[str | Path], port: int, folder: Path, account: str | None) -> None:
        self.url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"
        self._command, self._port, self._folder, self._account = command, port, folder, account
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self._folder / "log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                self._command, user=self._account, cwd=self._folder, stdout=file, stderr=file
            )
        _wait(self._process, self._port, log)

    def stop(self) -> None:
        """Stops at once and closes all connections. Committed data is kept."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # "fast shutdown"
        try:
            self._process.wait(120)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yields the URL of an empty database with password authentication. Skips if PostgreSQL is missing."""
    with postgres_server() as server:
        yield server.url


@contextmanager
def postgres_server() -> Iterator[Server]:
    programs = _programs()
    account = _account()
    # Other accounts cannot read the parents of pytest's tmp_path.
    folder = Path(tempfile.mkdtemp(prefix="mien-postgres-"))
    try:
        data, password = folder / "data", folder / "password"
        password.write_text(PASSWORD)
        if account is not None:
            for path in (folder, password):
                shutil.chown(path, account)
        create: list[str | Path] = [programs / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256"]
        create += [f"--pwfile={password}", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            create, user=account, check=True, cwd=folder, capture_output=True, timeout=START_SECONDS
        )
        port = _free_port()
        options = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", *_FAST]
        serve: list[str | Path] = [
            programs / "postgres",
            "-D",
            data,
            *(word for option in options for word in ("-c", option)),
        ]
        server = Server(serve, port, folder, account)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    folders = [Path(found).parent for found in [shutil.which("initdb")] if found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("PostgreSQL (initdb, postgres) is not installed")


def _account() -> str | None:
    """initdb refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and neither account postgres nor nobody exists")


def _free_port() -> int:
    """A free port below the range that Linux assigns by itself (from 32768).

    Therefore no other program gets it before the server has started, or while it is stopped.
    """
    for port in random.Random().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("none of 100 random ports between 20000 and 32000 is free")


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        if "ready to accept connections" in log.read_text(errors="replace"):
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start on port {port}: {log.read_text(errors='replace')[-2000:]}")
