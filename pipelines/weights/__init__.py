"""Model weights: registered in code, verified by sha256 whatever their origin, cached on this machine."""

from mien.pipelines.weights.cache import cache_folder, find, locate, sha256_of
from mien.pipelines.weights.licences import check_licence, profile_allows
from mien.pipelines.weights.pull import pull
from mien.pipelines.weights.registry import DEMO_CLIPS, WEIGHTS, Weights

__all__ = [
    "DEMO_CLIPS",
    "WEIGHTS",
    "Weights",
    "cache_folder",
    "check_licence",
    "find",
    "locate",
    "profile_allows",
    "pull",
    "sha256_of",
]
