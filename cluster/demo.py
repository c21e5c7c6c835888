"""Runs the whole pipeline on three short films and unpacks the samples."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mien.cluster.config import Settings, check_licences, weights_in_use
from mien.cluster.report.contact_sheet import contact_sheet
from mien.cluster.report.progress import ProgressBar
from mien.cluster.runner.catalog_additions import add
from mien.cluster.runner.run import RunResult, run
from mien.cluster.runner.verification import VerificationReport, verify
from mien.ingest.catalog import Catalog, VideoHistory
from mien.ingest.errors import UsageError
from mien.pipelines.weights import DEMO_CLIPS, pull

MARKER = ".mien-demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    histories: list[VideoHistory]
    """One per film."""
    result: RunResult
    verified: VerificationReport
    shards_uri: str
    samples: list[Path]
    """Contact sheets of the unpacked samples."""


def run_demo(settings: Settings, folder: Path, *, local: bool, report: Callable[[str], None]) -> DemoResult:
    """Downloads weights and films, runs the pipeline, verifies the shards, and unpacks the samples.

    Replaces `folder`.

    Raises:
        UsageError: `folder` contains something other than an earlier demo.
    """
    _recreate(folder)
    check_licences(settings)
    for name in (*weights_in_use(settings), DEMO_CLIPS.name):
        report(f"weights   {pull(name, report=lambda line: None)}")
    films = folder / "films"
    films.mkdir()
    for file in DEMO_CLIPS.files:
        shutil.copy2(pull(DEMO_CLIPS.name) / file.name, films / file.name)
    store = dataclasses.replace(settings.store, root=str(folder), catalog="", shards="", cache="")
    settings = dataclasses.replace(settings, store=store)
    added, _ = add(settings, [str(films)])
    with ProgressBar() as bar:
        result = run(settings, local=local, on_progress=bar.update)
    with contextlib.closing(Catalog.open(store.catalog_url)) as catalog:
        histories = [history for history in map(catalog.explain, added.new) if history is not None]
    return DemoResult(
        histories=histories,
        result=result,
        verified=verify(settings, deep=True),
        shards_uri=store.shards_uri,
        samples=_unpack(Path(store.shards_uri), folder / "samples"),
    )


def _recreate(folder: Path) -> None:
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARKER).exists():
            raise UsageError(
                f"{folder} is not empty and was not created by a demo; choose another folder with --folder"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()


def _unpack(shards: Path, folder: Path) -> list[Path]:
    folder.mkdir()
    sheets = []
    for shard in sorted(shards.glob("*.tar")):
        with tarfile.open(shard) as archive:
            archive.extractall(folder, filter="data")
    for strip in sorted(folder.glob("*.faces.jpg")):
        sheet = strip.with_name(strip.name.replace(".faces.jpg", ".sheet.jpg"))
        sheet.write_bytes(contact_sheet(strip.read_bytes()))
        sheets.append(sheet)
    return sheets
