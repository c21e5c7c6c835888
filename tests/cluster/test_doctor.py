import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.cluster.config import load
from mien.cluster.doctor import CHECKS, Check, CheckStatus, examine
from mien.cluster.doctor.accelerators import CLASH_FIX
from mien.cluster.doctor.software import HEADLESS_FIX

pytestmark = pytest.mark.slow

# Runs one check in a separate process, with `extra` first on the path.
ONE_CHECK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from mien.cluster.config import load
from mien.cluster.doctor import CHECKS
settings = load(flags=sys.argv[3:]).settings
print(json.dumps([[c.status, c.message, c.fix] for c in CHECKS[sys.argv[2]](settings)]))
"""

Run = Callable[..., list[list[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """[[status, message, fix]] of one check, with the packages in `tmp_path/extra` installed."""
    extra = tmp_path / "extra"
    extra.mkdir()

    def call(name: str, *flags: str, before: str = "") -> list[list[str]]:
        command = [sys.executable, "-c", before + ONE_CHECK, str(extra), name, *flags]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MIEN_")}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
        )
        found: list[list[str]] = json.loads(done.stdout)
        return found

    return call


def install(folder: Path, name: str, module: str = "") -> None:
    """Installs a fake package: its dist-info, and a module if one is given."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if module:
        (folder / "onnxruntime.py").write_text(module)


FAKE_ORT = """
__version__ = "1.0"
def get_available_providers():
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]
class SessionOptions:
    pass
class InferenceSession:
    def __init__(self, model, options, providers):
        assert model.endswith(b"\\x10\\r") and providers[0] == "CUDAExecutionProvider"
    def get_providers(self):
        return ["{first}", "CPUExecutionProvider"]
"""


def test_both_runtimes_installed_uses_cpu(run: Run, tmp_path: Path) -> None:
    install(tmp_path / "extra", "onnxruntime_GPU")
    ((status, message, cure),) = run("onnxruntime")
    assert (status, cure) == (CheckStatus.FAIL, CLASH_FIX)
    assert "both installed" in message


def test_both_runtimes_installed_and_fixed(run: Run, tmp_path: Path) -> None:
    install(tmp_path / "extra", "onnxruntime-gpu", FAKE_ORT.format(first="CUDAExecutionProvider"))
    ((status, message, _),) = run("onnxruntime", "faces.device=cuda")
    assert (status, "CUDAExecutionProvider" in message) == (CheckStatus.OK, True)


def test_cpu_fallback_is_detected(run: Run, tmp_path: Path) -> None:
    install(tmp_path / "extra", "onnxruntime-gpu", FAKE_ORT.format(first="CPUExecutionProvider"))
    ((status, message, cure),) = run("onnxruntime", "faces.device=cuda")
    assert (status, "faces.device is cuda" in message, bool(cure)) == (CheckStatus.FAIL, True, True)
    ((status, message, _),) = run("onnxruntime")
    assert status == CheckStatus.WARN


@pytest.mark.parametrize(
    ("check", "flag"), [("onnxruntime", "faces.device=cuda"), ("ctranslate2", "transcribe.device=cuda")]
)
def test_cuda_asked_for_where_there_is_none(run: Run, check: str, flag: str) -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count():
        pytest.skip("this machine has CUDA")
    ((status, message, cure),) = run(check, flag)
    assert (status, "is cuda" in message, bool(cure)) == (CheckStatus.FAIL, True, True)
    assert run(check)[0][0] == CheckStatus.OK


def test_opencv_without_libgl_suggests_headless(run: Run, tmp_path: Path) -> None:
    (tmp_path / "extra" / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
    )
    ((status, message, cure),) = run("opencv")
    assert (status, cure) == (CheckStatus.FAIL, HEADLESS_FIX)
    assert "libGL.so.1" in message


def test_missing_ffmpeg(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "extra" / "imageio_ffmpeg.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run("ffmpeg")
    # The check raises the error, and `examine` turns it into a failure.
    assert "MissingProgramError" in caught.value.stderr


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("MIEN_CONFIG", "MIEN_WEIGHTS_DIR", "MIEN_WEIGHTS_LICENCE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def one(name: str, *flags: str) -> Check:
    found = [check for check in examine(load(flags=flags).settings) if check.name.startswith(name)]
    return found[0]


def test_every_check_is_one_line(elsewhere: Path) -> None:
    found = list(examine(load().settings))
    assert {check.name.split(" scrfd")[0] for check in found} >= {"python", "catalog", "clock", "disk"}
    assert len(found) >= len(CHECKS)
    for check in found:
        assert "\n" not in check.message + check.fix
        assert check.status is CheckStatus.OK or check.fix or check.status is CheckStatus.FAIL
    assert list(elsewhere.iterdir()) == [], "looking leaves nothing behind"


def test_missing_weights_say_how_to_fix(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_WEIGHTS_DIR", str(elsewhere / "none"))
    check = one("weights whisper-base")
    assert (check.status, check.fix) == (CheckStatus.FAIL, "run `mien weights pull whisper-base`")


def test_store_that_cannot_be_made(elsewhere: Path) -> None:
    (elsewhere / "file").write_text("")
    for name in ("catalog", "shards"):
        check = one(name, "store.root=file/store")
        assert (check.status, bool(check.fix)) == (CheckStatus.FAIL, True), check


def test_catalog_that_is_something_else(elsewhere: Path) -> None:
    (elsewhere / "mien-store").mkdir()
    (elsewhere / "mien-store" / "catalog.sqlite").write_text(
        "this is no database, and long enough to be read as one"
    )
    assert one("catalog").status is CheckStatus.FAIL


def test_catalog_password_stays_hidden(elsewhere: Path) -> None:
    check = one("catalog", "store.catalog=postgresql://me:geheim@127.0.0.1:9/db")
    assert check.status is CheckStatus.FAIL
    assert "geheim" not in check.message + check.fix


def test_raising_check_counts_as_failed(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> list[Check]:
        raise RuntimeError("two\nlines")

    monkeypatch.setitem(CHECKS, "python", broken)
    found = list(examine(load().settings))
    assert found[0] == Check.fail("python", "the check raised RuntimeError: two lines")
    assert len(found) >= len(CHECKS)
