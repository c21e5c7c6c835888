"""Annotators: what is measured of a face, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mien.pipelines.annotators.speaking import mouth_motion

ANNOTATORS: dict[str, Callable[..., Any]] = {"speaking": mouth_motion}
