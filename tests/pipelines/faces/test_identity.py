from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.pipelines.faces.identity import LOOKS, embed, group, unit
from mien.pipelines.faces.tracks import FaceCrop, Tracklet

PEOPLE = np.eye(3, 8, dtype=np.float32)


def trail(first: int, last: int, *, score: float = 0.9, blur: float = 100.0) -> Tracklet:
    one = Tracklet()
    for row in range(first, last):
        one.shown.append(range(row, row + 1))
        one.seconds.append(row / 25)
        one.places.append(np.full(15, score, np.float32))
        one.looks.append(FaceCrop(b"x", np.zeros((64, 64), np.uint8), blur))
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


def test_only_trails_that_could_be_joined_are_embedded_and_only_the_doubtful_looked_at_again() -> None:
    # Two of one person, one of another, one like neither nor both; one seen along with all; one dark.
    people = {b"a": [1.0, 0.0, 0.0], b"A": [0.99, 0.1, 0.0], b"b": [0.0, 1.0, 0.0], b"?": [0.45, 0.0, 0.9]}
    trails = [trail(0, 50), trail(60, 90), trail(100, 150), trail(160, 200), trail(0, 200), trail(210, 250)]
    for one, name in zip(trails, (b"a", b"A", b"b", b"?", b"x", b"y"), strict=True):
        one.looks[:] = [FaceCrop(name, look.luma, look.blur) for look in one.looks]
    for look in range(len(trails[5].looks)):
        trails[5].looks[look] = FaceCrop(b"y", trails[5].looks[look].luma, 1.0)
    asked: list[bytes] = []

    def features(jpegs: Sequence[bytes]) -> np.ndarray:
        asked.extend(jpegs)
        return unit(np.array([people[jpeg] for jpeg in jpegs], np.float32))

    found = embed(trails, features, 0.4)
    assert [one is not None for one in found] == [True, True, True, True, False, False]
    # "?" is in doubt with both of the first two; "b" with nobody.
    assert [asked.count(name) for name in (b"a", b"A", b"b", b"?")] == [1 + LOOKS, 1 + LOOKS, 1, 1 + LOOKS]
    assert group(trails, found, 0.4)[0][:2] == [0, 1]
