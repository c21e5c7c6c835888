"""Checks of every registered model file."""

import re
from urllib.parse import urlsplit

import pytest

from mien.pipelines.weights import WEIGHTS, profile_allows, sha256_of

# Measured independently on the files.
KNOWN_PREFIXES = {
    "whisper-base": "d01c3014881c9c6f",
    "scrfd_500m": "a3562ef6",
    "arcface_w600k_mbf": "9cc6e4a7",
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_entry_is_complete(name: str) -> None:
    weights = WEIGHTS[name]
    assert weights.name == name
    assert weights.purpose and weights.licence and weights.files
    assert len({file.name for file in weights.files}) == len(weights.files)
    assert weights.permissive or weights.alternative, "research-only weights need an alternative"
    for file in weights.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert re.fullmatch(r"[\w.-]+", file.name)
        assert file.bytes > 0
        assert weights.bundled or (file.official and file.mirrors)
        assert all(urlsplit(address.url).scheme == "https" for address in file.official)
        assert all(
            part.version and not part.path.startswith("/") for mirror in file.mirrors for part in mirror
        )


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_entry_has_an_identifying_hash(name: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", sha256_of(name))
    if len(WEIGHTS[name].files) == 1:
        assert sha256_of(name) == WEIGHTS[name].files[0].sha256


@pytest.mark.parametrize(("name", "prefix"), KNOWN_PREFIXES.items())
def test_hashes_match_measured_files(name: str, prefix: str) -> None:
    assert WEIGHTS[name].files[0].sha256.startswith(prefix)


def test_permissive_profile_has_detector_whisper_and_vad() -> None:
    allowed = {name for name in WEIGHTS if profile_allows(name, "permissive")}
    assert allowed == {"whisper-base", "yunet_2023mar", "silero_vad_v6"}
    assert all(profile_allows(name, "any") for name in WEIGHTS)
