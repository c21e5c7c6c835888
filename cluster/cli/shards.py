"""`mien shards`: lists, shows, counts and exports samples."""

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

_CODES = "Exit codes: 0 success; 1 no shard, or a shard that cannot be read; 2 invalid request."
_URI = "URI is a folder or an object store URI; the default is store.shards of the configuration."

uri_argument = click.argument("uri", required=False, metavar="[URI]")
_WHERE = "Only samples that match, e.g. \"face_size_pixels > 96 and language == 'en'\"."
where_option = click.option("--where", metavar="FILTER", help=_WHERE)


@click.group(epilog="Example: mien shards ls")
def command() -> None:
    """Lists, counts and exports samples in mien's shards or any other WebDataset."""


@command.command(epilog=f"\b\nExample: mien shards ls s3://bucket/shards --json\n{_URI}\n{_CODES}")
@uri_argument
@click.option(
    "--keys", is_flag=True, help="List the keys of the samples, one per line, instead of the shards."
)
@click.option("--where", metavar="FILTER", help=f"{_WHERE} Needs --keys.")
@with_config
@json_option
def ls(uri: str | None, keys: bool, where: str | None, loaded: Loaded, as_json: bool) -> None:
    """Lists the shards with their samples, bytes, hours and state."""
    from mien.cluster.inspection.shard_list import list_rows
    from mien.cluster.inspection.tables import shards_summary, shards_table

    if where is not None and not keys:
        raise click.UsageError("--where selects samples, so it needs --keys; or use `mien shards stats`")
    reader = _reader(loaded, uri, where)
    (corpus,) = reader.corpora
    if keys:
        _list_keys(reader, as_json=as_json)
        return
    rows = list_rows(corpus)
    if as_json:
        echo_json({"uri": _display_uri(reader), "shards": [dataclasses.asdict(row) for row in rows]})
    else:
        click.echo(shards_table(rows, width=_width()))
        click.echo(f"\n{shards_summary(rows)}")


@command.command(
    epilog=f"\b\nExample: mien shards show youtube-aaaaaaaaaa1-000064 --to /tmp/seen\n"
    "KEY can be shortened to a prefix that only one sample has.\n"
    f"{_URI}\nExit codes: 0 success; 1 no such sample, or it is damaged; 2 several keys start with KEY."
)
@click.argument("key")
@uri_argument
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("sample-files"),
    show_default=True,
    help="Folder for the files. It is created if needed.",
)
@with_config
@json_option
def show(key: str, uri: str | None, folder: Path, loaded: Loaded, as_json: bool) -> None:
    """Writes one sample as mp4 with subtitles, srt, wav, png and json."""
    from mien.cluster.inspection import sample_export
    from mien.cluster.inspection.key_search import find_key

    reader = _reader(loaded, uri)
    found = find_key(reader.corpora[0], key)
    files = sample_export.export_all(reader.raw(found), folder)
    if as_json:
        echo_json({"key": found, "files": files})
        return
    for file in files:
        click.echo(str(file))


@command.command(
    short_help="Counts samples and hours, and shows distributions.",
    epilog=f"\b\nExample: mien shards stats --where \"language == 'en'\"\n"
    f"Reads only the indexes, not the tars.\n{_URI}\n{_CODES}",
)
@uri_argument
@where_option
@with_config
@json_option
def stats(uri: str | None, where: str | None, loaded: Loaded, as_json: bool) -> None:
    """Counts samples and hours, and shows the distribution of face size, SNR, languages and labels."""
    from mien.cluster.inspection.statistics import facts_of, stats_of
    from mien.cluster.inspection.tables import stats_page

    reader = _reader(loaded, uri, where)
    found = stats_of(reader.corpora[0])
    if as_json:
        echo_json({"uri": _display_uri(reader), "where": where, **facts_of(found)})
    else:
        click.echo(stats_page(found, width=_width()))


@command.command(
    short_help="Writes samples as sound files, videos or members.",
    epilog=f"\b\nExample: mien shards export --where 'snr_db > 20' --to /tmp/clean --format wav\n"
    "Formats: wav (sound, and words as txt), mp4 (as `mien shards show`), members (files of the tar).\n"
    f"{_URI}\nExit codes: 0 success; 1 some samples could not be exported; 2 invalid request.",
)
@uri_argument
@where_option
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the files. It is created if needed. Files with the same names are replaced.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["wav", "mp4", "members"]),
    default="members",
    show_default=True,
    help="What to write for each sample.",
)
@click.option("--limit", type=click.IntRange(1), help="Maximum number of samples.")
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
    """Writes samples as sound files, as videos, or as their original members."""
    from mien.cluster.inspection.sample_export import export_samples
    from mien.cluster.report.formatting import pluralize

    reader = _reader(loaded, uri, where)
    total = len(reader) if limit is None else min(limit, len(reader))
    files, left_out, watched = 0, [], sys.stderr.isatty()
    for number, (key, outcome) in enumerate(export_samples(reader, folder, kind=kind, limit=limit), 1):
        if isinstance(outcome, list):
            files += len(outcome)
        else:
            left_out.append({"key": key, "class": type(outcome).__name__, "error": str(outcome)})
            click.echo(f"mien: {outcome}", err=True)
        if watched and (number % 10 == 0 or number == total):
            click.echo(f"\r{number:,} of {total:,} samples", err=True, nl=number == total)
    if as_json:
        facts: dict[str, Any] = {"folder": folder, "samples": total - len(left_out), "files": files}
        echo_json({**facts, "left_out": left_out})
    else:
        samples = pluralize(total - len(left_out), "sample")
        skipped = f"; {pluralize(len(left_out), 'sample')} skipped" if left_out else ""
        click.echo(f"{samples}, {pluralize(files, 'file')} in {folder}{skipped}")
    raise SystemExit(1 if left_out else 0)


def _reader(loaded: Loaded, uri: str | None, where: str | None = None) -> ShardReader:
    from mien.models.reader.shard_reader import ShardReader

    return ShardReader(uri or loaded.settings.store.shards_uri, where=where, shuffle_window=0)


def _display_uri(reader: ShardReader) -> str:
    from mien.ingest.storage import redact

    return redact(reader.corpora[0].store.uri)


def _list_keys(reader: ShardReader, *, as_json: bool) -> None:
    from mien.cluster.report.formatting import terminal_safe

    (corpus,) = reader.corpora
    numbers = range(len(corpus.index)) if corpus.selected is None else corpus.selected.tolist()
    if as_json:
        echo_json({"uri": _display_uri(reader), "keys": [corpus.index.key(number) for number in numbers]})
        return
    # Keys of foreign datasets may contain terminal escape sequences. Pipes get the keys unchanged.
    to_text = terminal_safe if sys.stdout.isatty() else str
    for number in numbers:
        click.echo(to_text(corpus.index.key(number)), color=True)


def _width() -> int:
    return max(80, shutil.get_terminal_size((120, 24)).columns)
