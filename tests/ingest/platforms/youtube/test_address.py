"""All forms of an address give the same video; invalid ones give an error of one line."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mien.ingest.errors import UsageError
from mien.ingest.platforms.youtube.address import is_youtube, parse

ID = "-aB_0123456"
WATCH = f"https://www.youtube.com/watch?v={ID}"
LIST = "PLaaaaaaaaaaaaaaaa"
PLAYLIST = f"https://www.youtube.com/playlist?list={LIST}"
CHANNEL = "UCaaaaaaaaaaaaaaaaaaaaaa"


@pytest.mark.parametrize(
    "written",
    [
        WATCH,
        f"http://youtube.com/watch?v={ID}",
        f"  https://m.youtube.com/watch?v={ID}&t=30s  ",
        f"https://music.youtube.com/watch?v={ID}&si=abc",
        f"HTTPS://WWW.YOUTUBE.COM/watch?v={ID}",
        f"https://www.youtube.com/watch?app=desktop&v={ID}&list={LIST}&index=3",
        f"https://www.youtube.com/watch/?v={ID}",
        f"https://youtu.be/{ID}",
        f"https://youtu.be/{ID}?si=abc&t=5",
        f"youtu.be/{ID}",
        f"www.youtube.com/watch?v={ID}",
        f"https://www.youtube.com/shorts/{ID}?feature=share",
        f"https://www.youtube.com/embed/{ID}?start=3",
        f"https://www.youtube-nocookie.com/embed/{ID}",
        f"https://www.youtube.com/live/{ID}",
        f"https://www.youtube.com/v/{ID}",
    ],
)
def test_a_video_has_one_address(written: str) -> None:
    assert is_youtube(written)
    address = parse(written)
    assert (address.kind, address.name, address.url) == ("video", ID, WATCH)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        (f"https://www.youtube.com/playlist?list={LIST}&si=x", PLAYLIST),
        (f"https://music.youtube.com/playlist?list={LIST}", PLAYLIST),
        (f"https://www.youtube.com/watch?list={LIST}", PLAYLIST),
        (f"https://www.youtube.com/embed/videoseries?list={LIST}", PLAYLIST),
        (f"https://www.youtube.com/v/videoseries?list={LIST}", PLAYLIST),
        ("@some.body", "https://www.youtube.com/@some.body"),
        ("https://youtube.com/@Some-Body/videos?view=0", "https://www.youtube.com/@Some-Body/videos"),
        ("https://www.youtube.com/@Some-Body/about", "https://www.youtube.com/@Some-Body"),
        ("https://www.youtube.com/@שלום", "https://www.youtube.com/@שלום"),
        (f"https://m.youtube.com/channel/{CHANNEL}/", f"https://www.youtube.com/channel/{CHANNEL}"),
        ("https://www.youtube.com/c/Name/shorts", "https://www.youtube.com/c/Name/shorts"),
        ("https://www.youtube.com/user/name", "https://www.youtube.com/user/name"),
    ],
)
def test_lists(written: str, url: str) -> None:
    assert is_youtube(written)
    address = parse(written)
    assert (address.kind, address.url) == ("list", url)


@pytest.mark.parametrize(
    ("written", "words", "limit"),
    [
        ("ytsearch:people  talking", "people talking", 1),
        ("ytsearch25:people talking", "people talking", 25),
        ("ytsearchall:a: b\nc", "a: b c", None),
        ("https://www.youtube.com/results?search_query=people+talking&sp=abc", "people talking", None),
    ],
)
def test_searches(written: str, words: str, limit: int | None) -> None:
    assert is_youtube(written)
    address = parse(written)
    assert (address.kind, address.name, address.limit) == ("search", words, limit)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("https://www.youtube.com/watch?v=short", "11 letters"),
        (f"https://youtu.be/{ID}x", "11 letters"),
        ("https://youtu.be/../../etc", "11 letters"),
        ("https://www.youtube.com/watch", "YouTube has no videos at"),
        ("https://www.youtube.com/feed/trending", "YouTube has no videos at"),
        ("https://www.youtube.com/embed/videoseries", "YouTube has no videos at"),
        ("https://www.youtube.com/e/videoseries", "YouTube has no videos at"),
        (f"https://www.youtube.com/embed/live_stream?channel={CHANNEL}", "YouTube has no videos at"),
        ("https://www.youtube.com/", "YouTube has no videos at"),
        ("https://www.youtube.com/watch?list=RDabcdefghijk", "a mix"),
        ("https://www.youtube.com/playlist?list=../x", "no playlist's id"),
        ("ytsearch5: ", "without words"),
        ("ytsearch0:people", "finds nothing"),
        ("https://www.youtube.com/watch?v=\x1b[31m\u202e", "\ufffd"),
    ],
)
def test_invalid_addresses_give_one_line(written: str, expected: str) -> None:
    assert is_youtube(written)
    with pytest.raises(UsageError, match=re.escape(expected)) as caught:
        parse(written)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "other",
    [
        "talks/",
        "film.mp4",
        "youtube",
        "m/films",
        "https://example.org/watch?v=" + ID,
        "https://youtube.com.evil.example/watch?v=" + ID,
        "https://notyoutube.com/watch?v=" + ID,
        "https://user@example.org/youtube.com/watch",
        "ftp://youtube.com/watch?v=" + ID,
        "s3://youtube.com/watch",
        "https://[bad/watch",
        "@a b",
        "",
    ],
)
def test_other_addresses_are_not_accepted(other: str) -> None:
    assert not is_youtube(other)


def test_a_file_of_that_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "@home").touch()
    assert not is_youtube("@home")
    assert is_youtube("@away")


@given(st.text(string.ascii_letters + string.digits + "-_", min_size=11, max_size=11))
@example("videoseries")
@example("live_stream")
def test_every_address_form_keeps_the_id(video_id: str) -> None:
    written = [f"https://youtu.be/{video_id}", f"https://www.youtube.com/watch?v={video_id}"]
    written += [f"https://www.youtube.com/{folder}/{video_id}" for folder in ("shorts", "live")]
    if video_id not in {"videoseries", "live_stream"}:
        written += [f"https://www.youtube.com/{folder}/{video_id}" for folder in ("embed", "v", "e")]
    assert {parse(each).name for each in written} == {video_id}


@given(st.text(max_size=60))
def test_nothing_but_a_usage_error_is_raised(text: str) -> None:
    for argument in (text, f"https://www.youtube.com/{text}", f"https://youtu.be/{text}", f"ytsearch:{text}"):
        is_youtube(argument)
        try:
            assert parse(argument).url.startswith("https://www.youtube.com/")
        except UsageError as error:
            assert "\n" not in str(error)
