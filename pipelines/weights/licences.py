"""Licence profiles: "any" allows all weights, "permissive" excludes research-only weights."""

from __future__ import annotations

import os

from mien.ingest.errors import ConfigError
from mien.pipelines.weights.registry import entry

ANY = "any"
PERMISSIVE = "permissive"
PROFILES = (ANY, PERMISSIVE)
PROFILE_VARIABLE = "MIEN_WEIGHTS_LICENCE"


def current_profile() -> str:
    """The profile of this process. It comes from the environment, so every worker of a run inherits it.

    Raises ConfigError for an unknown profile: falling back to a default could use forbidden weights.
    """
    profile = os.environ.get(PROFILE_VARIABLE) or ANY
    if profile not in PROFILES:
        raise ConfigError(
            f"unknown licence profile {profile!r}; set weights.licence to {' or '.join(PROFILES)}"
        )
    return profile


def profile_allows(name: str, profile: str | None = None) -> bool:
    """Whether `profile` (default: this process's) allows the weights `name`.

    Raises WeightsError for a name that is not registered.
    """
    return (profile or current_profile()) != PERMISSIVE or entry(name).permissive


def check_licence(name: str, profile: str | None = None) -> None:
    """Raises ConfigError, with the permissive alternative, if the profile forbids `name`."""
    if profile_allows(name, profile):
        return
    weights = entry(name)
    raise ConfigError(
        f"weights {name} are not permissive ({weights.licence}) and weights.licence is "
        f'"{PERMISSIVE}"; set {weights.alternative}, or weights.licence = "{ANY}" for research'
    )
