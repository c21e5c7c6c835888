from collections.abc import Iterator

import pytest

from mien.cluster.engine import ProcessBackend
from mien.cluster.engine.backends.ray_session import RaySession


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for all tests: an engine uses a Ray that is already connected, and does not stop it."""
    with RaySession(object_store_bytes=300 * 1024**2, num_cpus=32):
        yield


@pytest.fixture(params=["ray", "processes"])
def any_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sets the default backend of engines. Tests that use this run once on each backend."""
    if request.param == "ray":
        request.getfixturevalue("ray_session")
    else:
        monkeypatch.setattr("mien.cluster.engine.scheduler.RayBackend", lambda: ProcessBackend((), cpus=32))
    return str(request.param)
