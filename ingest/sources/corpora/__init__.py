"""Labelled corpora. A new one is one file and one line here; its labels travel to every sample of it."""

from __future__ import annotations

from ingest.sources.corpora.ch_unicamp import CH_UNICAMP
from ingest.sources.corpora.corpus import Corpus, Recording
from ingest.sources.corpora.cremad import CREMAD
from ingest.sources.corpora.mead import MEAD
from ingest.sources.corpora.ravdess import RAVDESS
from ingest.sources.corpora.source import CorpusSource

__all__ = ["CORPORA", "Corpus", "CorpusSource", "Recording"]

CORPORA: dict[str, Corpus] = {
    "ravdess": RAVDESS,
    "cremad": CREMAD,
    "mead": MEAD,
    "chunicamp": CH_UNICAMP,
}
