"""Labelled corpora. A new one is one file and one line here; its labels travel to every sample of it."""

from __future__ import annotations

from mien.ingest.sources.corpora.ch_unicamp import CH_UNICAMP
from mien.ingest.sources.corpora.corpus import Corpus, Recording
from mien.ingest.sources.corpora.cremad import CREMAD
from mien.ingest.sources.corpora.mead import MEAD
from mien.ingest.sources.corpora.ravdess import RAVDESS
from mien.ingest.sources.corpora.source import CorpusSource

__all__ = ["CORPORA", "Corpus", "CorpusSource", "Recording"]

CORPORA: dict[str, Corpus] = {
    "ravdess": RAVDESS,
    "cremad": CREMAD,
    "mead": MEAD,
    "chunicamp": CH_UNICAMP,
}
