"""A worker process starts with the environment of its stage. Other workers do not get it."""

import pytest

from mien.cluster.engine import Engine
from tests.cluster.engine.stages import Recorder, StartEnvironment, parcels, pool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def test_environment_applies_to_one_stage_only() -> None:
    observer = Recorder(parcels(2))
    own = StartEnvironment("own")
    own.environment = {StartEnvironment.variable: "a b=c"}
    Engine([pool(StartEnvironment("plain")), pool(own), pool(StartEnvironment("next"))], observer).run()
    assert observer.keys == [f"p{number:03d} plain: own:a b=c next:" for number in range(2)]
