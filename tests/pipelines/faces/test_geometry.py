"""Alignment, rotation and overlap of faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.pipelines.faces.geometry import TEMPLATE, compose, inverse, overlap, similarity, upright_from_stored
from tests.hypothesis_examples import examples


@settings(deadline=None, max_examples=examples(80))
@given(st.floats(0.05, 20), st.floats(-3.1, 3.1), st.floats(-2000, 2000), st.integers(0, 2**31))
def test_similarity_matches_insightface(scale: float, angle: float, shift: float, seed: int) -> None:
    from insightface.utils.face_align import estimate_norm

    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    noise = np.random.default_rng(seed).normal(0, 3, (5, 2))
    landmarks = ((TEMPLATE + noise) @ linear.T + shift).astype(np.float32)
    np.testing.assert_allclose(similarity(landmarks), estimate_norm(landmarks, 128), rtol=2e-3, atol=2e-2)


def test_similarity_accepts_coinciding_landmarks() -> None:
    assert np.isfinite(similarity(np.full((5, 2), 7.0))).all()


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_upright_map_matches_rotated_pixels(rotation: int) -> None:
    stored = np.arange(12).reshape(3, 4)
    upright = np.rot90(stored, -rotation // 90)
    to_upright = upright_from_stored(rotation, 4, 3)
    for y, x in np.ndindex(3, 4):
        u, v = to_upright @ (x, y, 1)
        assert upright[int(v), int(u)] == stored[y, x]
    np.testing.assert_allclose(compose(to_upright, inverse(to_upright)), np.eye(3)[:2], atol=1e-12)


def test_overlap_is_intersection_over_union() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    expected = np.array([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(overlap(boxes, boxes), expected, atol=1e-6)
