"""A worker's process begins with the environment that its stage asks for, and no other worker's does."""

import pytest

from mien.cluster.engine import Engine
from tests.cluster.engine.stages import Born, Recorder, parcels, pool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def test_a_stage_has_the_environment_it_asks_for_and_its_neighbours_do_not() -> None:
    observer = Recorder(parcels(2))
    own = Born("own")
    own.environment = {Born.variable: "a b=c"}
    Engine([pool(Born("plain")), pool(own), pool(Born("next"))], observer).run()
    assert observer.keys == [f"p{number:03d} plain: own:a b=c next:" for number in range(2)]
