"""The sidecar of a shard: `<shard>.parquet`, one row per sample, readable by any Parquet reader.

Columns: `key`, the values that a trainer filters by, and for each member `offset.<ext>` and `size.<ext>`
(int64, bytes from the start of the tar) and `crc32.<ext>` (uint32, zlib.crc32 of the member's bytes). The
CRC lets a reader that fetches a single member detect corruption. These columns are null if the sample does
not have the member. The file's metadata holds the shard's name, size and sha256, and the schema version.
Sidecars written by older versions have no `crc32.*` columns.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from mien.pipelines.annotators import scalar_types
from mien.pipelines.data import SCHEMA_VERSION
from mien.pipelines.shards.tar import Place

_COLUMNS: dict[str, str] = {
    "source": "string",
    "video_id": "string",
    "licence": "string",
    "start_seconds": "double",
    "seconds": "double",
    "rows": "int32",
    "language": "string",
    "language_probability": "float",
    "text": "string",
    "words": "int32",
    "word_probability": "float",
    "face_track": "int32",
    "face_coverage": "float",
    "face_size_pixels": "float",
    "face_score": "float",
    "face_blur": "float",
    "face_max_offset_seconds": "float",
    "speech_ratio": "float",
    "snr_db": "float",
}
_LAST_COLUMNS: dict[str, str] = {"labels": "string", "fingerprint": "string"}
_NUMBERS = {"double": "f8", "float": "f4", "int32": "i4", "int64": "i8", "uint32": "u4"}
PLACE_COLUMNS = {"offset": "int64", "size": "int64", "crc32": "uint32"}
"""Columns of each member: `<name>.<ext>`, from the fields of `Place`."""


def filter_columns() -> dict[str, str]:
    """Name to Parquet type of all filter columns, including the scalars of all annotators."""
    scalars = scalar_types()
    if taken := scalars.keys() & (_COLUMNS.keys() | _LAST_COLUMNS.keys()):
        raise ValueError(f"an annotator declares the scalar {min(taken)}, which every index has; rename it")
    return _COLUMNS | scalars | _LAST_COLUMNS


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    key: str
    row: Mapping[str, Any]
    places: Mapping[str, Place]
    """By member extension."""


def encode_index(rows: list[IndexRow], *, shard: str, sha256: str, tar_bytes: int) -> bytes:
    """The sidecar's content."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"key": column([row.key for row in rows], "string")}
    disabled = scalar_types().keys() - {name for row in rows for name in row.row}
    for name, kind in filter_columns().items():
        if name in disabled:
            continue  # its annotator is disabled
        columns[name] = column([row.row.get(name) for row in rows], kind)
    for extension in sorted({extension for row in rows for extension in row.places}):
        places = [row.places.get(extension) for row in rows]
        for part, kind in PLACE_COLUMNS.items():
            values = [getattr(place, part) if place else None for place in places]
            columns[f"{part}.{extension}"] = column(values, kind)
    facts = {"shard": shard, "sha256": sha256, "bytes": tar_bytes, "schema_version": SCHEMA_VERSION}
    table = pa.table(columns).replace_schema_metadata({"mien": json.dumps(facts)})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def column(values: Sequence[Any], kind: str) -> Any:
    """`values` as a pyarrow.Array; None becomes null. The result equals that of `pyarrow.array`.

    `pyarrow.array` is not used because, given a list, it imports pandas if pandas is installed. That takes
    0.25 s and 60 MB in each writer.
    """
    import pyarrow as pa

    known = np.array([value is not None for value in values], bool)
    buffers = [None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little").tobytes())]
    if kind == "string":
        texts = [b"" if value is None else value.encode() for value in values]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        buffers += [pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(texts))]
    else:
        plain = np.array([0 if value is None else value for value in values], _NUMBERS[kind])
        buffers.append(pa.py_buffer(plain.tobytes()))
    return pa.Array.from_buffers(pa.type_for_alias(kind), len(values), buffers)


def scan_tar(tar: IO[bytes]) -> list[IndexRow]:
    """The index rows of a tar. They rebuild a sidecar that was lost before it was published.

    Raises tarfile.ReadError if the tar is truncated.
    """
    found: dict[str, dict[str, Place]] = {}
    texts: dict[str, bytes] = {}
    with tarfile.open(fileobj=tar, mode="r:") as archive:
        for member in archive:
            key, _, extension = member.name.partition(".")
            content = archive.extractfile(member)
            if content is None:
                raise tarfile.ReadError(f"{member.name} is not a plain file")
            data = content.read()
            if extension == "json":
                texts[key] = data
            place = Place(offset=member.offset_data, size=member.size, crc32=zlib.crc32(data))
            found.setdefault(key, {})[extension] = place
    return [
        IndexRow(key=key, row=filter_row(json.loads(texts[key])), places=places)
        for key, places in found.items()
    ]


def filter_row(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The filter columns of a sample, from its `json` member."""
    face, quality, video = meta["face"] or {}, meta["quality"], meta["video"]
    probabilities = [word["probability"] for word in meta["words"]]
    return {
        "source": video["source"],
        "video_id": video["id"],
        "licence": video["licence"],
        "start_seconds": meta["start_seconds"],
        "seconds": round(meta["end_seconds"] - meta["start_seconds"], 6),
        "rows": meta["rows"],
        "language": meta["language"],
        "language_probability": meta["language_probability"],
        "text": " ".join(word["text"] for word in meta["words"]),
        "words": len(probabilities),
        "word_probability": sum(probabilities) / len(probabilities) if probabilities else None,
        "face_track": face.get("track"),
        "face_coverage": face.get("coverage"),
        "face_size_pixels": face.get("size_pixels"),
        "face_score": face.get("score"),
        "face_blur": face.get("blur"),
        "face_max_offset_seconds": face.get("max_offset_seconds"),
        "speech_ratio": quality["speech_ratio"],
        "snr_db": quality["snr_db"],
        **{name: quality[name] for name in scalar_types() if name in quality},
        "labels": json.dumps(video["labels"], ensure_ascii=False, sort_keys=True),
        "fingerprint": meta["provenance"]["fingerprint"],
    }
