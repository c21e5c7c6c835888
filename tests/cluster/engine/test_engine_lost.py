"""Payloads that go down with their node."""

from typing import Any

import pytest

from mien.cluster.engine import Engine
from mien.cluster.engine.worker import Task
from tests.cluster.engine.stages import Obey, Parcel, Recorder, parcels, pool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def test_a_lost_payload_is_told_and_the_rest_goes_on() -> None:
    """An object whose owner has died is as lost as one whose node has."""
    import ray

    class Owner:
        def put(self) -> list[Any]:
            return [ray.put(parcels(1)[0])]

    owner: Any = ray.remote(Owner).options(num_cpus=0).remote()
    (orphan,) = ray.get(owner.put.remote())
    ray.kill(owner)
    with pytest.raises(ray.exceptions.ObjectLostError):
        while True:  # until it is gone: the node keeps it until it knows of the death
            ray.get(orphan)

    class Losing(Recorder):
        def reported(self, stage: str, item: Parcel) -> bool:
            """The fourth leaves the one stage and comes to the next as something that is not there."""
            if item.key == "p003":
                engine._pools[1].push(
                    Task(key="p003", seconds=1.0, nbytes=1, payload=orphan, index=None, parent="p003")
                )
            return item.key != "p003"

    observer = Losing(parcels(8))
    engine = Engine([pool(Obey("a"), report=True), pool(Obey("b"))], observer)
    engine.run()
    assert observer.lost_keys == ["p003"]
    assert observer.keys == [f"p{number:03d}" for number in range(8) if number != 3]
    assert not observer.failures
