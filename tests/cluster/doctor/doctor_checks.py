"""Helpers that run the checks of `mien doctor` and of the start of a run, and look for leaked secrets."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest

from mien.cluster.config import Settings, load
from mien.cluster.config.settings import connect
from mien.cluster.doctor import Check, CheckStatus
from mien.cluster.doctor.acquisition import DOCTOR, check_acquisition
from mien.ingest.catalog import Catalog
from mien.ingest.errors import ConfigError, MienError
from mien.ingest.media import VideoRef
from mien.ingest.naming import make_id
from mien.ingest.rate.identity import Identity

PASSWORD = "geheim-1234"  # noqa: S105
TUBE = VideoRef(source="youtube", id="aaaaaaaaaa1", uri="https://www.youtube.com/watch?v=aaaaaaaaaa1")
NO_JS = {"youtube": {"player_skip": ["js"]}}


def settings(*identities: Identity, **acquire: Any) -> Settings:
    plain = load().settings
    passed = {"extractor_args": NO_JS, **acquire.pop("ytdlp_options", {})}
    output = replace(
        plain.acquire, identities=identities or plain.acquire.identities, ytdlp_options=passed, **acquire
    )
    return connect(replace(plain, acquire=output))


def waiting(of: Settings, *refs: VideoRef | str) -> None:
    """Adds waiting videos to the catalog of `of`. A string is the URL of a plain file."""
    assert of.store.catalog_file is not None
    of.store.catalog_file.parent.mkdir(exist_ok=True)
    with Catalog.open(of.store.catalog_url) as catalog:
        catalog.add(
            VideoRef(source="http", id=make_id("film", ref.encode()), uri=ref)
            if isinstance(ref, str)
            else ref
            for ref in refs
        )


def outcomes(name: str, of: Settings) -> list[Check]:
    found = list(DOCTOR[name](of))
    for check in found:
        assert "\n" not in check.message + check.fix
        assert PASSWORD not in check.message + check.fix
        assert check.status is CheckStatus.OK or check.fix
    return found


def refused(of: Settings, kind: type[MienError] = ConfigError, *, source: str = "youtube") -> str:
    with pytest.raises(kind) as raised:
        check_acquisition(of, {"file", source})
    assert "\n" not in str(raised.value)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
