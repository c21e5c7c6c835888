"""A run that requests CUDA on a machine without CUDA fails before anything starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mien.cluster.doctor import accelerators
from tests.mien_command import mien

WATCHED = (
    "import atexit, sys\n"
    "atexit.register(lambda: print('ray' in sys.modules, file=sys.stderr))\n"
    "from mien.cluster.cli import main\n"
    "main()"
)


@pytest.fixture(autouse=True)
def no_cuda() -> None:
    import ctranslate2
    import onnxruntime

    built = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if ctranslate2.get_cuda_device_count() or (built and "CUDA" in accelerators.first_provider()):
        pytest.skip("this machine has CUDA")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "film.mp4").write_bytes(b"never opened")
    assert mien("add", "film.mp4", folder=tmp_path).returncode == 0
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--local",)])
@pytest.mark.parametrize(
    ("stage", "missing"), [("faces", "CPUExecutionProvider"), ("transcribe", "0 CUDA devices")]
)
def test_run_is_refused_before_ray_starts(
    stage: str, missing: str, how: tuple[str, ...], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.mien_command.MIEN", [sys.executable, "-c", WATCHED])
    done = mien("run", *how, "--set", f"{stage}.device=cuda", folder=store)
    assert done.returncode == 2
    line, ray_was_imported, *more = done.stderr.splitlines()
    assert not more
    assert ray_was_imported == "False"
    assert line.startswith("mien: ")
    assert missing in line
    assert f"but {stage}.device is cuda; " in line
    assert f'{stage}.device = "cpu"' in line
    assert_untouched(store, monkeypatch)


@pytest.mark.slow
def test_unknown_device_is_a_configuration_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in ("faces", "transcribe"):
        done = mien("run", "--set", f"{stage}.device=gpu", folder=store)
        assert done.returncode == 2
        assert f"{stage}.device: input should be 'cpu' or 'cuda', got 'gpu'" in done.stderr
    assert_untouched(store, monkeypatch)


@pytest.mark.slow
def test_doctor_reports_the_missing_device(tmp_path: Path) -> None:
    options = ("--set", "faces.device=cuda", "--set", "transcribe.device=cuda")
    done = mien("doctor", "--json", *options, folder=tmp_path)
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    for name, stage in (("onnxruntime", "faces"), ("ctranslate2", "transcribe")):
        assert checks[name]["status"] == "fail"
        assert f"{stage}.device is cuda" in checks[name]["message"]
        assert f'{stage}.device = "cpu"' in checks[name]["cure"]
    # Without the request, the missing device is no failure.
    plain = mien("doctor", "--json", folder=tmp_path)
    checks = {check["name"]: check for check in json.loads(plain.stdout)["checks"]}
    assert {checks["onnxruntime"]["status"], checks["ctranslate2"]["status"]} == {"ok"}


def assert_untouched(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No video was claimed, and no folder for shards was created."""
    monkeypatch.undo()
    history = json.loads(mien("explain", "--json", "film.mp4", folder=store).stdout)
    assert (history["state"], history["events"]) == ("waiting", [])
    assert not (store / "store" / "shards").exists()
