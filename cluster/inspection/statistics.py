"""Statistics of a corpus, computed from its index without opening tars."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mien.models.reader.corpus.corpus import Corpus
from mien.pipelines.annotators import scalar_types

if TYPE_CHECKING:
    import pyarrow as pa

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MEASURED = {
    "seconds": "length, s",
    "words": "words",
    "face_size_pixels": "face size, px",
    "face_coverage": "face coverage",
    "snr_db": "SNR, dB",
    "speech_ratio": "speech ratio",
}
_MEASURED_LAST = {"word_probability": "word probability"}
COUNTED = ("language", "source", "licence")
UNKNOWN = "(unknown)"


def measured_columns() -> dict[str, str]:
    """Columns of numbers, those of annotators included, and their names for people."""
    scalars = {name: name.replace("_", " ") for name, kind in scalar_types().items() if kind != "string"}
    return _MEASURED | scalars | _MEASURED_LAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    samples: int
    """Samples with a known value."""
    quantiles: Mapping[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    samples: int
    hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    shards: int
    """Shards with at least one matching sample."""
    samples: int
    of: int
    """Samples before the filter."""
    videos: int | None
    """None if the index does not name videos."""
    hours: float | None
    """None, here and below, if the index has no durations."""
    spreads: Mapping[str, Spread]
    """By column of numbers, for those that the index has."""
    shares: Mapping[str, Mapping[str, Share]]
    """By column of COUNTED or label, then by value, most frequent first."""


def stats_of(corpus: Corpus) -> Stats:
    have = frozenset(corpus.index.columns)
    seconds = _floats(_column(corpus, "seconds")) if "seconds" in have else None
    videos = None
    if {"source", "video_id"} <= have:
        both = zip(_texts(corpus, "source"), _texts(corpus, "video_id"), strict=True)
        videos = len({pair for pair in both if None not in pair}) or None
    shares = {name: _shares(_texts(corpus, name), seconds) for name in COUNTED if name in have}
    if "labels" in have:
        shares |= _label_shares(_texts(corpus, "labels"), seconds)
    return Stats(
        shards=int(np.count_nonzero(corpus.counts)),
        samples=len(corpus),
        of=len(corpus.index),
        videos=videos,
        hours=None if seconds is None else float(np.nansum(seconds)) / 3600,
        spreads={
            name: _spread(_floats(_column(corpus, name))) for name in measured_columns() if name in have
        },
        shares=shares,
    )


def _column(corpus: Corpus, name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    whole = pa.chunked_array(
        [batch.column(name) for batch in corpus.index.batches], corpus.index.schema.field(name).type
    )
    return whole if corpus.selected is None else whole.take(pa.array(corpus.selected))


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """(N,) NaN if unknown"""
    import pyarrow as pa

    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def _texts(corpus: Corpus, name: str) -> list[str | None]:
    found: list[str | None] = _column(corpus, name).to_pylist()
    return found


def _spread(values: npt.NDArray[np.float64]) -> Spread:
    known = values[np.isfinite(values)]
    quantiles = np.quantile(known, QUANTILES).tolist() if len(known) else []
    return Spread(samples=len(known), quantiles=dict(zip(QUANTILES, quantiles, strict=False)))


def _shares(values: list[str | None], seconds: npt.NDArray[np.float64] | None) -> dict[str, Share]:
    counts: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    each = np.zeros(len(values)) if seconds is None else np.nan_to_num(seconds)
    for value, length in zip(values, each.tolist(), strict=True):
        counts[value or UNKNOWN] += 1
        sums[value or UNKNOWN] += length
    return {
        value: Share(samples=count, hours=None if seconds is None else sums[value] / 3600)
        for value, count in counts.most_common()
    }


def _label_shares(
    texts: list[str | None], seconds: npt.NDArray[np.float64] | None
) -> dict[str, dict[str, Share]]:
    """By `label:<name>`. Samples without the label count as unknown."""
    parsed = {text: _labels(text) for text in set(texts)}
    names = sorted({name for labels in parsed.values() for name in labels})
    return {f"label:{name}": _shares([parsed[text].get(name) for text in texts], seconds) for name in names}


def _labels(text: str | None) -> dict[str, str]:
    try:
        found: Any = json.loads(text) if text else {}
    except ValueError:
        return {"labels": str(text)}  # labels in another notation than mien's
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def facts_of(stats: Stats) -> dict[str, Any]:
    """Plain values for programs."""
    return {
        "shards": stats.shards,
        "samples": stats.samples,
        "samples_without_filter": stats.of,
        "videos": stats.videos,
        "hours": stats.hours,
        "quantiles": {
            name: {
                "samples": spread.samples,
                **{f"p{round(100 * part)}": value for part, value in spread.quantiles.items()},
            }
            for name, spread in stats.spreads.items()
        },
        "counts": {
            name: {value: {"samples": share.samples, "hours": share.hours} for value, share in shares.items()}
            for name, shares in stats.shares.items()
        },
    }
