from collections.abc import Iterator

import pytest

from cluster.engine.ray_session import RaySession


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for the session: an engine uses what it finds, and leaves it."""
    with RaySession(object_store_bytes=300 * 1024**2, num_cpus=32):
        yield
