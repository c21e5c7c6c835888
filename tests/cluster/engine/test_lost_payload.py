"""Payloads that are lost with their node."""

from typing import Any

import pytest

from mien.cluster.engine import Engine
from mien.cluster.engine.worker import WorkItem
from tests.cluster.engine.stages import Obey, Parcel, Recorder, parcels, pool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def test_lost_payload_is_reported_and_others_continue() -> None:
    """Ray loses an object when its owner dies, as when its node fails."""
    import ray

    class Owner:
        def put(self) -> list[Any]:
            return [ray.put(parcels(1)[0])]

    owner: Any = ray.remote(Owner).options(num_cpus=0).remote()
    (orphan,) = ray.get(owner.put.remote())
    ray.kill(owner)
    with pytest.raises(ray.exceptions.ObjectLostError):
        while True:  # the node keeps the object until it learns of the death
            ray.get(orphan)

    class Losing(Recorder):
        def reported(self, stage: str, item: Parcel) -> bool:
            """Replaces the payload of the fourth item by the lost object."""
            if item.key == "p003":
                engine.pools[1].push(
                    WorkItem(key="p003", seconds=1.0, nbytes=1, payload=orphan, index=None, parent="p003")
                )
            return item.key != "p003"

    observer = Losing(parcels(8))
    engine = Engine([pool(Obey("a"), reports_outputs=True), pool(Obey("b"))], observer)
    engine.run()
    assert observer.lost_keys == ["p003"]
    assert observer.keys == [f"p{number:03d}" for number in range(8) if number != 3]
    assert not observer.failures
