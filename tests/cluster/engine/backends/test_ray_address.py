"""An address without a Ray cluster is refused at once."""

import socket

import pytest

from mien.cluster.engine.backends.ray_session import RaySession
from mien.ingest.errors import InfeasibleError


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_silent_address_is_refused_beside_another_ray() -> None:
    test_silent_address_is_refused()


def test_silent_address_is_refused() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        session = RaySession(address=address, object_store_bytes=1 << 27)
        with pytest.raises(InfeasibleError, match="no Ray cluster answers") as caught:
            session.__enter__()
    assert "\n" not in str(caught.value)
