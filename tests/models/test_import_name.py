"""`from mien import …` works in a project that has its own `models` and `ingest` packages."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mien
from tests.models.talking_shards import write_talking

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys

import mien

assert not [name for name in sys.modules if name.startswith("mien.")], "importing mien imports nothing else"
from mien import ShardReader, Window

reader = ShardReader(
    sys.argv[1], fields=["faces", "audio", "speaking"], windows=Window.of_frames(8), cache_dir=sys.argv[2]
)
with reader.loader(global_batch=2, workers=int(sys.argv[3])) as loader:
    shapes = [tuple(batch["faces"].shape) for batch in loader]
print(shapes)
"""
RAY_SCRIPT = """
import sys

import ray

from mien import ShardReader


@ray.remote(num_cpus=1)
class Trainer:
    def read(self, shards, cache):
        from mien import ShardReader, Window

        reader = ShardReader(shards, fields=["faces", "audio"], windows=Window.of_frames(8), cache_dir=cache)
        with reader.loader(global_batch=2, workers=1, tensors=False) as loader:
            return [tuple(batch["faces"].shape) for batch in loader]


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
print(ray.get(Trainer.remote().read.remote(sys.argv[1], sys.argv[2])))
"""
SHAPES = "[(2, 8, 128, 128, 3), (2, 8, 128, 128, 3)]"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talking(tmp_path_factory.mktemp("talking") / "shards", 4, per_shard=2)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A training project whose own packages would be found first under the old import names."""
    folder = tmp_path / "project"
    for package in ("models", "ingest", "pipelines", "cluster"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("raise RuntimeError('the project, not mien')\n")
    return folder


def run(project: Path, script: str, *arguments: str | Path, path: Path = ROOT / "src") -> str:
    """Runs the script in the project's folder, as `python train.py` does. Its last line of output."""
    (project / "train.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "train.py", *map(str, arguments)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_every_exported_name_exists() -> None:
    for name in mien.__all__:
        assert getattr(mien, name) is not None
        assert name in dir(mien)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mien.nothing


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_project_with_own_models_package(shards: Path, project: Path, workers: int) -> None:
    assert run(project, SCRIPT, shards, project / "cache", str(workers)) == SHAPES


@pytest.mark.slow
def test_ray_actor_in_project_with_own_models(shards: Path, project: Path) -> None:
    assert run(project, RAY_SCRIPT, shards, project / "cache") == SHAPES


@pytest.mark.slow
def test_wheel_has_one_top_level_package(shards: Path, project: Path, tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    modules = {
        f"mien/{path.relative_to(ROOT)}"
        for folder in ("ingest", "pipelines", "models", "cluster")
        for path in (ROOT / folder).rglob("*.py")
        if "benchmarks" not in path.parts
    }
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"mien"}
    assert modules <= set(names)
    assert "mien/py.typed" in names
    assert run(project, SCRIPT, shards, project / "cache", "0", path=tmp_path / "installed") == SHAPES


def build_wheel(folder: Path) -> Path:
    """Built offline, from a source distribution, so that both must contain the linked folders."""
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, tracked):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_file():
            target.write_bytes((ROOT / name).read_bytes())
    build = "import setuptools.build_meta as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"

    def backend(where: Path, what: str, out: Path) -> Path:
        out.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", build, what, str(out)],
            cwd=where,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return out / done.stdout.strip().splitlines()[-1]

    archive = backend(source, "build_sdist", folder / "sdist")
    unpacked = folder / "unpacked"
    subprocess.run(["tar", "-xzf", str(archive), f"--one-top-level={unpacked}"], check=True)
    return backend(next(unpacked.iterdir()), "build_wheel", folder / "wheel")
