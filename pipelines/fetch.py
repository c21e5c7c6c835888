"""The stage `fetch`: the first stage of the pipeline, around `mien.ingest.fetch.Fetch`."""

from __future__ import annotations

from dataclasses import dataclass

from mien.ingest.fetch import Fetch
from mien.pipelines.stage import DeadlineRule, Resources, Stage, StageContext


@dataclass(kw_only=True)
class FetchStage(Fetch, Stage):
    """Job to MediaFile. It also provides the other stages with a video's file on their node."""

    name = "fetch"
    resources = Resources()
    cpu_share = 0.05
    # The size of a file is unknown before it is fetched. A stalled transfer times out much sooner.
    deadline = DeadlineRule(base=6 * 3600.0, per_second=0.0)
    queue_items = 32
    """A claim of half as many is one query to the catalog."""
    takes_videos = True
    reports_outputs = True
    waits_for_network = True
    affects_samples = False
    imports = ("mien.ingest.probe", "av", "httpx", "httpcore", "h11")

    def setup(self, context: StageContext) -> None:
        self.open()
