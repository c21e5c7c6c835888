"""`mien shards`: what came out, to be looked at, counted and taken along."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mien.cluster.cli.options import echo_json, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded
    from mien.models.reader.shard_reader import ShardReader

_CODES = "Exit codes: 0 done; 1 no shard there, or one that cannot be read; 2 impossible as asked."
_URI = "URI is a folder or an object store's address; without it, the store's shards of mien.toml."

uri_argument = click.argument("uri", required=False, metavar="[URI]")
where_option = click.option(
    "--where",
    metavar="FILTER",
    help="Only samples that pass, as \"face_size_pixels > 96 and language == 'en'\".",
)


@click.group(epilog="Example: mien shards ls")
def command() -> None:
    """Shows, counts and exports what is in shards: mien's own, or any WebDataset."""


@command.command(epilog=f"\b\nExample: mien shards ls s3://bucket/shards --json\n{_URI}\n{_CODES}")
@uri_argument
@click.option("--keys", is_flag=True, help="The key of each sample, a line each, instead of the shards.")
@where_option
@with_config
@json_option
def ls(uri: str | None, keys: bool, where: str | None, loaded: Loaded, as_json: bool) -> None:
    """Lists the shards with their samples, bytes and hours, and whether they are committed."""
    from mien.cluster.inspection.shard_list import list_rows
    from mien.cluster.inspection.tables import shards_summary, shards_table

    if where is not None and not keys:
        raise click.UsageError("--where chooses among samples: give --keys too, or ask `mien shards stats`")
    reader = _reader(loaded, uri, where)
    (corpus,) = reader.corpora
    if keys:
        _list_keys(reader, as_json=as_json)
        return
    rows = list_rows(corpus)
    if as_json:
        echo_json({"uri": _shown(reader), "shards": [dataclasses.asdict(row) for row in rows]})
    else:
        click.echo(shards_table(rows, width=_width()))
        click.echo(f"\n{shards_summary(rows)}")


@command.command(
    epilog=f"\b\nExample: mien shards show youtube-aaaaaaaaaa1-000064 --to /tmp/seen\n"
    "KEY may be cut short, as long as it names one sample.\n"
    f"{_URI}\nExit codes: 0 done; 1 no such sample, or a damaged one; 2 several begin with KEY."
)
@click.argument("key")
@uri_argument
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("shown"),
    show_default=True,
    help="Folder for the files, made if need be.",
)
@with_config
@json_option
def show(key: str, uri: str | None, folder: Path, loaded: Loaded, as_json: bool) -> None:
    """Writes one sample out as mp4 with its words as subtitles, srt, wav, png and json."""
    from mien.cluster.inspection import sample_export
    from mien.cluster.inspection.key_search import find_key

    reader = _reader(loaded, uri)
    found = find_key(reader.corpora[0], key)
    files = sample_export.show(reader.raw(found), folder)
    if as_json:
        echo_json({"key": found, "files": files})
        return
    for file in files:
        click.echo(str(file))


@command.command(
    epilog=f"\b\nExample: mien shards stats --where \"language == 'en'\"\n"
    f"Reads the index alone, no tar.\n{_URI}\n{_CODES}"
)
@uri_argument
@where_option
@with_config
@json_option
def stats(uri: str | None, where: str | None, loaded: Loaded, as_json: bool) -> None:
    """Counts samples and hours, and tells how face size, noise, languages and labels are spread."""
    from mien.cluster.inspection.statistics import facts_of, stats_of
    from mien.cluster.inspection.tables import stats_page

    reader = _reader(loaded, uri, where)
    found = stats_of(reader.corpora[0])
    if as_json:
        echo_json({"uri": _shown(reader), "where": where, **facts_of(found)})
    else:
        click.echo(stats_page(found, width=_width()))


@command.command(
    epilog=f"\b\nExample: mien shards export --where 'snr_db > 20' --to /tmp/clean --format wav\n"
    "wav: sound, and its words as txt. mp4: as `mien shards show`. members: the files of the tar.\n"
    f"{_URI}\nExit codes: 0 done; 1 some samples were left out (named); 2 impossible as asked."
)
@uri_argument
@where_option
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the files, made if need be; what is there under the same names is replaced.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["wav", "mp4", "members"]),
    default="members",
    show_default=True,
    help="What is made of each sample.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many samples.")
@with_config
@json_option
def export(
    *,
    uri: str | None,
    where: str | None,
    folder: Path,
    kind: str,
    limit: int | None,
    loaded: Loaded,
    as_json: bool,
) -> None:
    """Writes samples out as sound, as films, or as the plain files that they are made of."""
    from mien.cluster.inspection.sample_export import export_samples

    reader = _reader(loaded, uri, where)
    asked = len(reader) if limit is None else min(limit, len(reader))
    files, left_out, watched = 0, [], sys.stderr.isatty()
    for number, (key, made) in enumerate(export_samples(reader, folder, kind=kind, limit=limit), 1):
        if isinstance(made, list):
            files += len(made)
        else:
            left_out.append({"key": key, "class": type(made).__name__, "error": str(made)})
            click.echo(f"mien: {type(made).__name__}: {made}", err=True)
        if watched and (number % 10 == 0 or number == asked):
            click.echo(f"\r{number:,} of {asked:,} samples", err=True, nl=number == asked)
    if as_json:
        told: dict[str, Any] = {"folder": folder, "samples": asked - len(left_out), "files": files}
        echo_json({**told, "left_out": left_out})
    else:
        tail = f"; {len(left_out)} left out" if left_out else ""
        click.echo(f"{asked - len(left_out):,} samples, {files:,} files in {folder}{tail}")
    raise SystemExit(1 if left_out else 0)


def _reader(loaded: Loaded, uri: str | None, where: str | None = None) -> ShardReader:
    from mien.models.reader.shard_reader import ShardReader

    return ShardReader(uri or loaded.settings.store.shards_uri, where=where, shuffle_window=0)


def _shown(reader: ShardReader) -> str:
    from mien.ingest.storage import redact

    return redact(reader.corpora[0].store.uri)


def _list_keys(reader: ShardReader, *, as_json: bool) -> None:
    from mien.cluster.report.formatting import terminal_safe

    (corpus,) = reader.corpora
    numbers = range(len(corpus.index)) if corpus.selected is None else corpus.selected.tolist()
    if as_json:
        echo_json({"uri": _shown(reader), "keys": [corpus.index.key(number) for number in numbers]})
        return
    # A stranger's keys may hold what a terminal takes for a command; a program gets them as they are.
    to_text = terminal_safe if sys.stdout.isatty() else str
    for number in numbers:
        click.echo(to_text(corpus.index.key(number)), color=True)


def _width() -> int:
    return max(80, shutil.get_terminal_size((120, 24)).columns)
