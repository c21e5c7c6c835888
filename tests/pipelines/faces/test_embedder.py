"""Which tracklets are embedded, and which are joined as one person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.pipelines.faces.crop import FaceCrop
from mien.pipelines.faces.embedder import CROPS_IF_UNCERTAIN, embed_tracklets, group_by_person, normalize
from mien.pipelines.faces.tracker import Tracklet

PEOPLE = np.eye(3, 8, dtype=np.float32)


def tracklet(first: int, last: int, *, score: float = 0.9, blur: float = 100.0) -> Tracklet:
    one = Tracklet()
    for row in range(first, last):
        one.rows.append(range(row, row + 1))
        one.seconds.append(row / 25)
        one.faces.append(np.full(15, score, np.float32))
        one.crops.append(FaceCrop(b"x", np.zeros((64, 64), np.uint8), blur))
    return one


def similar_to(person: int, seed: int) -> np.ndarray:
    return normalize(PEOPLE[person] + 0.15 * np.random.default_rng(seed).normal(size=8).astype(np.float32))


def test_joins_interrupted_track_but_not_other_people() -> None:
    tracklets = [tracklet(0, 50), tracklet(60, 90), tracklet(100, 150), tracklet(20, 80)]
    embeddings = [similar_to(0, 1), similar_to(1, 2), similar_to(0, 3), similar_to(2, 4)]
    assert group_by_person(tracklets, embeddings, 0.4) == [[0, 2], [3], [1]]


def test_never_joins_tracklets_visible_at_the_same_time() -> None:
    tracklets = [tracklet(0, 50), tracklet(49, 90), tracklet(90, 120)]
    same = [PEOPLE[0]] * 3
    groups = group_by_person(tracklets, same, 0.4)
    assert sorted(len(members) for members in groups) == [1, 2]
    assert not any({0, 1} <= set(members) for members in groups)


def test_joins_nothing_without_embeddings() -> None:
    assert group_by_person([tracklet(60, 90), tracklet(0, 50)], None, 0.4) == [[1], [0]]


def test_does_not_join_poorly_visible_faces() -> None:
    tracklets = [tracklet(0, 50), tracklet(60, 90, score=0.4), tracklet(100, 150, blur=2.0)]
    assert len(group_by_person(tracklets, [PEOPLE[0]] * 3, 0.4)) == 3


def test_no_tracklets() -> None:
    assert group_by_person([], [], 0.4) == []


def test_embeds_joinable_tracklets_and_repeats_uncertain_ones() -> None:
    # Two of one person, one of another, one between both; one visible along with all; one dark.
    people = {b"a": [1.0, 0.0, 0.0], b"A": [0.99, 0.1, 0.0], b"b": [0.0, 1.0, 0.0], b"?": [0.45, 0.0, 0.9]}
    spans = [(0, 50), (60, 90), (100, 150), (160, 200), (0, 200), (210, 250)]
    tracklets = [tracklet(first, last) for first, last in spans]
    for one, name in zip(tracklets, (b"a", b"A", b"b", b"?", b"x", b"y"), strict=True):
        one.crops[:] = [FaceCrop(name, crop.luma, 1.0 if name == b"y" else crop.blur) for crop in one.crops]
    embedded: list[bytes] = []

    def embed(jpegs: Sequence[bytes]) -> np.ndarray:
        embedded.extend(jpegs)
        return normalize(np.array([people[jpeg] for jpeg in jpegs], np.float32))

    embeddings = embed_tracklets(tracklets, embed, 0.4)
    assert [one is not None for one in embeddings] == [True, True, True, True, False, False]
    # "?" is near the threshold with both of the first two; "b" is near it with none.
    repeated = 1 + CROPS_IF_UNCERTAIN
    assert [embedded.count(name) for name in (b"a", b"A", b"b", b"?")] == [repeated, repeated, 1, repeated]
    assert group_by_person(tracklets, embeddings, 0.4)[0][:2] == [0, 1]
