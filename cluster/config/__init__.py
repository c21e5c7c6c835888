"""The typed configuration: defaults, `mien.toml`, environment, flags. Unknown keys are rejected."""

from mien.cluster.config.fingerprint import check_licences, fingerprint, weights_environment, weights_in_use
from mien.cluster.config.load import Loaded, Origin, load
from mien.cluster.config.settings import Settings

__all__ = [
    "Loaded",
    "Origin",
    "Settings",
    "check_licences",
    "fingerprint",
    "load",
    "weights_environment",
    "weights_in_use",
]
