"""Two nodes of a Ray cluster with separate media caches: one fetches a film, the other splits it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.pipelines.weights.cache import FOLDER_VARIABLE, cache_folder
from tests.demo_media import needs_weights
from tests.ingest.fetch.server import LoopbackServer, Reply
from tests.sync_films import make_sync_film

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]

# Each node has room for one worker, so the two stages run on different nodes.
DRIVER = """
import sys
from ray.cluster_utils import Cluster
from mien.cluster.engine import Engine, PoolSpec, RayBackend
from mien.ingest.media import Job, VideoRef
from mien.pipelines.fetch import FetchStage
from mien.pipelines.speech.split import Split
from mien.pipelines.stage import ClipSettings, DeadlineRule, StageContext
from tests.cluster.engine.stages import Recorder

url, folder = sys.argv[1:]
def room(name):
    own = {"XDG_CACHE_HOME": f"{folder}/{name}"}
    return {"num_cpus": 1, "object_store_memory": 100 << 20, "env_vars": own}

cluster = Cluster(initialize_head=True, head_node_args=room("a"))
cluster.add_node(**room("b"))
cluster.wait_for_nodes()
fetch = FetchStage(allow_private_addresses=True, keep_uri=f"{folder}/kept", attempts=1)
context = StageContext(local_media=fetch, clip=ClipSettings(require=("face",)))
split = Split(min_seconds=5.0, target_seconds=6.0, max_seconds=8.0)
rule = DeadlineRule(base=60.0)
pools = [
    PoolSpec(stage=fetch, workers=1, cpus=0.9, deadline=rule),
    PoolSpec(stage=split, workers=1, cpus=0.9, deadline=rule),
]
observer = Recorder([Job(video=VideoRef(source="http", id="film", uri=url))])
Engine(pools, observer, backend=RayBackend(address=cluster.address), context=context).run()
print("segments", len(observer.finished_items), "failed", observer.error_classes)
cluster.shutdown()
"""


def test_node_gets_a_film_that_another_fetched(tmp_path: Path) -> None:
    needs_weights()
    film = tmp_path / "film.mp4"
    make_sync_film(film, container="mp4", seconds=20.0)
    with LoopbackServer() as server:
        server.pages["/film.mp4"] = [Reply(body=film.read_bytes()), Reply(status=410)]
        driver = subprocess.run(
            [sys.executable, "-c", DRIVER, server.url("/film.mp4"), str(tmp_path)],
            cwd=ROOT,
            env=os.environ | {FOLDER_VARIABLE: str(cache_folder())},  # by default it is below XDG_CACHE_HOME
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert driver.stdout.splitlines()[-1:] == ["segments 3 failed {}"], driver.stderr[-3000:]
        assert len(server.requests) == 1
    copies = [path for name in "ab" for path in (tmp_path / name).rglob("*.mp4")]
    assert [path.read_bytes() == film.read_bytes() for path in copies] == [True, True]
