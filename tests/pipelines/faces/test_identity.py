from __future__ import annotations

import numpy as np

from pipelines.faces.identity import group, unit
from pipelines.faces.tracks import Look, Trail

PEOPLE = np.eye(3, 8, dtype=np.float32)


def trail(first: int, last: int, *, score: float = 0.9, blur: float = 100.0) -> Trail:
    one = Trail()
    for row in range(first, last):
        one.shown.append(range(row, row + 1))
        one.seconds.append(row / 25)
        one.places.append(np.full(15, score, np.float32))
        one.looks.append(Look(b"x", np.zeros((64, 64), np.uint8), blur))
    return one


def like(person: int, seed: int) -> np.ndarray:
    return unit(PEOPLE[person] + 0.15 * np.random.default_rng(seed).normal(size=8).astype(np.float32))


def test_an_interrupted_track_is_joined_and_another_person_is_not() -> None:
    trails = [trail(0, 50), trail(60, 90), trail(100, 150), trail(20, 80)]
    embeddings = [like(0, 1), like(1, 2), like(0, 3), like(2, 4)]
    assert group(trails, embeddings, 0.4) == [[0, 2], [3], [1]]


def test_nobody_is_in_two_places_at_once() -> None:
    trails = [trail(0, 50), trail(49, 90), trail(90, 120)]
    same = [PEOPLE[0]] * 3
    groups = group(trails, same, 0.4)
    assert sorted(len(members) for members in groups) == [1, 2]
    assert not any({0, 1} <= set(members) for members in groups)


def test_without_an_identity_network_nothing_is_joined() -> None:
    assert group([trail(60, 90), trail(0, 50)], None, 0.4) == [[1], [0]]


def test_faces_seen_badly_are_not_joined() -> None:
    trails = [trail(0, 50), trail(60, 90, score=0.4), trail(100, 150, blur=2.0)]
    assert len(group(trails, [PEOPLE[0]] * 3, 0.4)) == 3


def test_no_trails() -> None:
    assert group([], [], 0.4) == []
