"""Scanning foreign tars finds the same members as tarfile and the same samples as webdataset."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.reader.corpus.tars import TarDamage, scan_members, scan_samples
from tests.hypothesis_examples import examples

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


def tar_of(files: list[tuple[str, bytes]], style: int, **headers: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style, pax_headers=headers or None) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def scanned(tar: bytes) -> list[tuple[str, int, int]]:
    return list(scan_members(io.BytesIO(tar), len(tar)))


@settings(max_examples=examples(60))
@given(st.lists(st.tuples(NAMES, st.binary(max_size=1200)), max_size=6), st.sampled_from(FORMATS[1:]))
def test_finds_same_members_as_tarfile(files: list[tuple[str, bytes]], style: int) -> None:
    tar = tar_of(files, style)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        expected = [(m.offset_data, m.size) for m in archive if m.isreg()]

    assert [(offset, size) for _, offset, size in scanned(tar)] == expected


@pytest.mark.parametrize("style", FORMATS)
def test_reads_long_names(style: int) -> None:
    name = "/".join(["folder" * 8] * 3) + "/" + "file" * 12 + ".json"
    long = name.replace(".json", "x" * 200 + ".json") if style != tarfile.USTAR_FORMAT else name
    files = [(name, b"a"), (long, b"bc"), ("short.txt", b"")]

    assert [(found, size) for found, _, size in scanned(tar_of(files, style))] == [
        (name, 1),
        (long, 2),
        ("short.txt", 0),
    ]


def test_skips_members_that_are_not_files() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind in [("d", tarfile.DIRTYPE), ("l" * 150, tarfile.SYMTYPE), ("h", tarfile.LNKTYPE)]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "target" * 40
            tar.addfile(info)
        info = tarfile.TarInfo("real.bin")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    tar_bytes = out.getvalue()

    [(name, offset, size)] = scanned(tar_bytes)
    assert (name, tar_bytes[offset : offset + size]) == ("real.bin", b"abc")


def test_reads_global_pax_headers_and_large_sizes() -> None:
    tar = bytearray(tar_of([("a.bin", b"x" * 700)], tarfile.PAX_FORMAT, comment="of all"))
    assert scanned(bytes(tar))[0][0] == "a.bin"

    huge = tarfile.TarInfo("huge.bin")
    huge.size = 9 << 30
    assert huge.tobuf(tarfile.GNU_FORMAT)[124] & 0x80
    with pytest.raises(TarDamage, match=f"needs {(9 << 30) + 512} bytes, has 512"):
        scanned(huge.tobuf(tarfile.GNU_FORMAT))


FILES = [(f"clip{n:02d}.{ext}", b"x" * (n * 100)) for n in range(6) for ext in ("json", "JPG", "npy.zst")]


@pytest.mark.parametrize("cut", [100, 512, 700, 1100, 5000])
def test_truncated_tar_is_damage(cut: int) -> None:
    tar = tar_of(FILES, tarfile.USTAR_FORMAT)
    content = max(offset + size for _, offset, size in scanned(tar))

    with pytest.raises(TarDamage, match="truncated"):
        scanned(tar[:cut])
    with pytest.raises(TarDamage, match="no closing blocks"):
        scanned(tar[: -(-content // 512) * 512])
    assert scanned(tar[: -(-content // 512) * 512 + 512]) == scanned(tar)


def test_garbage_and_flipped_headers_are_damage() -> None:
    tar = bytearray(tar_of(FILES, tarfile.USTAR_FORMAT))
    tar[1024 + 130] ^= 0x04
    for data in (bytes(tar), b"<html>" * 300, b"\1" * 512):
        with pytest.raises(TarDamage, match="no tar header"):
            scanned(data)


def header(name: bytes, size: bytes, kind: bytes = b"0", checksum: bytes = b"") -> bytes:
    block = bytearray(512)
    block[: len(name)], block[124 : 124 + len(size)], block[156:157] = name, size, kind
    block[148:156] = checksum or b"%06o\0 " % (sum(block) + 8 * 32)
    return bytes(block)


def pax(record: bytes) -> bytes:
    return header(b"pax", b"%o" % len(record), b"x") + record.ljust(-(-len(record) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    "tar",
    [
        header(b"a.txt", b"0") + header(b"b.txt", b"-0000002000") + bytes(1024),
        header(b"a.txt", b"+7") + bytes(1536),
        header(b"a.txt", b"0", checksum=b"999999\0 ") + bytes(1024),
        pax(b"9" * 5000 + b" size=0\n") + header(b"a.txt", b"0") + bytes(1024),
        pax(b"5011 size=" + b"1" * 5000 + b"\n") + header(b"a.txt", b"0") + bytes(1024),
    ],
    ids=["it goes back", "a sign", "no octal", "a long length", "a long size"],
)
def test_invalid_numbers_are_damage(tar: bytes) -> None:
    """The first one would be scanned forever."""
    with pytest.raises(TarDamage):
        for number, _ in enumerate(scan_members(io.BytesIO(tar), len(tar))):
            assert number < 10


def test_groups_samples_like_webdataset(tmp_path: Path) -> None:
    files = [
        *FILES,
        ("folder.v1/a.b.c", b"1"),
        ("folder.v1/a.d", b"2"),
        ("other/a.d", b"3"),
        ("./dotted/a.d", b"4"),
        ("noextension", b"5"),
        ("__meta__/x.json", b"6"),
    ]
    tar = tar_of(files, tarfile.PAX_FORMAT)
    (tmp_path / "x.tar").write_bytes(tar)
    theirs = {
        entry["__key__"].removeprefix("./"): {name for name in entry if not name.startswith("__")}
        for entry in webdataset.WebDataset(str(tmp_path / "x.tar"), shardshuffle=False)
    }
    ours = {sample.key: set(sample.places) for sample in scan_samples(io.BytesIO(tar), len(tar))}

    assert ours == theirs
    assert ours["folder.v1/a"] == {"b.c", "d"}
