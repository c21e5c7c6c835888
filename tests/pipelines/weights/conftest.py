"""Fakes of an official server and a package index, both on this machine."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mien.pipelines.weights import download
from mien.pipelines.weights.registry import WEIGHTS, OfficialUrl, PackageFile, WeightFile, Weights


@dataclass
class FakeOrigins:
    """Serves `files` by path and records the requested paths; `links` is a folder of packages."""

    url: str
    links: Path
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def wheel(self, package: str, members: Mapping[str, bytes]) -> None:
        name = package.replace("-", "_")
        with zipfile.ZipFile(
            self.links / f"{name}-1.0.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED
        ) as file:
            for path, content in members.items():
                file.writestr(path, content)

    def sdist(self, package: str, members: Mapping[str, bytes]) -> None:
        name = package.replace("-", "_")
        with tarfile.open(self.links / f"{name}-1.0.0.tar.gz", "w:gz") as file:
            for path, content in members.items():
                info = tarfile.TarInfo(f"{name}-1.0.0/{path}")
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))


@pytest.fixture
def origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOrigins]:
    links = tmp_path / "links"
    links.mkdir()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.requests.append(self.path)
            content = fake.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake = FakeOrigins(f"http://127.0.0.1:{server.server_address[1]}", links)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("MIEN_WEIGHTS_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("MIEN_WEIGHTS_LICENCE", raising=False)
    monkeypatch.setattr(download, "_unreachable", {})
    for timeout in ("CONNECT_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(download, timeout, 120.0)
    yield fake
    server.shutdown()
    server.server_close()


def weight_file(
    name: str, content: bytes, *, urls: tuple[str, ...] = (), mirrors: tuple[str, ...] = ()
) -> WeightFile:
    """`mirrors`: "package path" or, for several parts, "package path + package path"."""
    return WeightFile(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        official=tuple(
            OfficialUrl(url=url.partition("!")[0], member=url.partition("!")[2] or None) for url in urls
        ),
        mirrors=tuple(
            tuple(
                PackageFile(package=part.split()[0], version="1.0.0", path=part.split()[1])
                for part in mirror.split(" + ")
            )
            for mirror in mirrors
        ),
    )


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> object:
    """Registers weights named "toy" for one test."""

    def add(*files: WeightFile, permissive: bool = True) -> Weights:
        weights = Weights(
            name="toy",
            purpose="tests",
            licence="MIT" if permissive else "research only",
            permissive=permissive,
            alternative="" if permissive else 'toy.kind = "free"',
            files=files,
        )
        monkeypatch.setitem(WEIGHTS, "toy", weights)
        return weights

    return add
