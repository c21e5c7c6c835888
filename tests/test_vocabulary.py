"""Names that were replaced by standard terms must not return, and test names must be short."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_SEARCHED = ("CHANGELOG.md", "LICENSE", "tests/fixtures/", "tests/test_vocabulary.py")

# Old name: new name. The old name is searched as a whole word, with this capitalisation.
NAMES = {
    "BudgetedLeave": "BudgetedPageClient",
    "PageLeave": "PageBudget",
    "Standing": "EgressState",
    "Suspects": "QuarantineQueue",
    "acquit": "clear",
    "accused": "blamed",
    "nursery": "fork_server",
    "widen": "relax",
    "Trail": "Tracklet",
    "Follower": "FaceTracker",
    "Following": "TrackerConfig",
    "Looker": "FaceCropper",
    "Look": "FaceCrop",
    "Shown": "TimedFrame",
    "Tape": "AudioTimeline",
    "WhereItLies": "InPlaceMedia",
    "Crew": "WorkerPool",
    "Board": "WorkerStatus",
    "Carver": "BufferAllocator",
    "Maker": "BatchBuilder",
    "hand_over": "to_batch",
    "Conveyor": "BatchQueue",
    "Shelf": "IndexCache",
    "Ahead": "Prefetcher",
}
# Old identifier: new identifier. These are also English words, so only identifiers in Python code count.
IDENTIFIERS = {
    "Begun": "ResumeInfo",
    "Found": "VideoMetadata",
    "Gathering": "AggregatingStage",
    "Got": "FetchResult",
    "Leave": "PageBudget",
    "Keeper": "RetainedStore",
    "Made": "EncodedBatch",
    "Others": "PeerRunMonitor",
    "Terms": "AcceptancePolicy",
    "Trial": "TransactionRetry",
    "Turn": "PageSession",
    "Wanted": "SearchFilter",
    "either": "union",
    "look": "check",
    "settling": "settlement",
}
# Words that no identifier in Python code may contain: replacement.
IDENTIFIER_PARTS = {
    "accused": "blamed",
    "acquit": "clear",
    "carver": "allocator",
    "chance": "probability",
    "conveyor": "queue",
    "crew": "pool",
    "cursors": "round_robin",
    "governed": "rate_limited",
    "hindered": "requeued",
    "lane": "queue_key",
    "mend": "fix",
    "nursery": "fork_server",
    "relief": "stragglers",
    "said": "recorded",
    "shelf": "cache",
    "standing": "egress_state",
    "stories": "histories",
    "story": "history",
    "tallies": "counters",
    "told": "reported",
    "tape": "audio_timeline",
    "trail": "tracklet",
    "trails": "tracklets",
    "trouble": "error",
    "widen": "relax",
    "wish": "pin",
    "withdrawn": "revoked",
}
# Old module name: new module name. Test modules and folders count as well.
MODULES = {
    "again": "transaction_retry",
    "ahead": "prefetcher",
    "begun": "resume_info",
    "board": "worker_status",
    "carver": "buffer_allocator",
    "chance": "rng",
    "conveyor": "batch_queue",
    "crew": "worker_pool",
    "hand_over": "to_batch",
    "kept": "retained_media",
    "learning": "merge_metadata",
    "leave": "page_budget",
    "near": "audio_duplicates",
    "nursery": "fork_server",
    "phrases": "error_patterns",
    "presence": "peer_runs",
    "recipe": "pool_planning",
    "refusals": "refusal_attribution",
    "relief": "stragglers",
    "said": "recorded",
    "settling": "settlement",
    "shelf": "index_cache",
    "slot": "partial_file",
    "story": "events",
    "tallies": "counters",
    "terms": "acceptance",
    "trouble": "error_mapping",
    "undo": "revoke_shard",
    "walls": "bot_detection",
    "wanted": "pins",
    "wishes": "filters",
}


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    return [name for name in listed.stdout.split("\0") if name and not name.startswith(NOT_SEARCHED)]


def test_old_names_are_gone() -> None:
    pattern = re.compile(rf"\b({'|'.join(NAMES)})\b")
    found = []
    for name in tracked_files():
        path = ROOT / name
        if not path.is_file() or path.is_symlink():
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            found += [
                f"{name}:{number}: {old}; use {NAMES[old]}" for old in dict.fromkeys(pattern.findall(line))
            ]
    assert not found, "\n".join(found)


def test_old_identifiers_are_gone() -> None:
    found = []
    for name in tracked_files():
        if name.endswith(".py") and (ROOT / name).is_file():
            source = io.StringIO((ROOT / name).read_text())
            found += [
                f"{name}:{token.start[0]}: {token.string}; use {new}"
                for token in tokenize.generate_tokens(source.readline)
                if token.type == tokenize.NAME and (new := _replacement(token.string))
            ]
    assert not found, "\n".join(found)


def _replacement(identifier: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", identifier).lower().split("_")
    parts = [IDENTIFIER_PARTS[word] for word in words if word in IDENTIFIER_PARTS]
    return IDENTIFIERS.get(identifier.lstrip("_"), "") or ", ".join(parts)


def test_old_module_names_are_gone() -> None:
    found = []
    for name in tracked_files():
        for part in PurePosixPath(name).with_suffix("").parts:
            module = part.removeprefix("test_")
            if module in MODULES:
                found.append(f"{name}: use {MODULES[module]}")
    assert not found, "\n".join(found)


def test_test_names_have_less_than_60_characters() -> None:
    found = []
    for name in tracked_files():
        if name.startswith("tests/") and name.endswith(".py") and (ROOT / name).is_file():
            names = re.findall(r"def (test_\w+)", (ROOT / name).read_text())
            found += [f"{name}: {test}" for test in names if len(test) >= 60]
    assert not found, "\n".join(found)
