"""From an egress identity and the pass-through table to the parameters of `yt_dlp.YoutubeDL`.

yt-dlp's own configuration files are not read. Options that start a program, write outside the target folder
or read a browser's profile are refused. Source of the names: yt_dlp/YoutubeDL.py.
"""

from __future__ import annotations

import copy
import difflib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.ingest.errors import ConfigError
from mien.ingest.platforms.cookies import netscape, read_cookies
from mien.ingest.platforms.secrets import secrets_of
from mien.ingest.platforms.ytdlp.javascript import js_runtimes
from mien.ingest.platforms.ytdlp.log import Log
from mien.ingest.rate.identity import Identity

DEFAULT_FORMAT = "bv*[height<=720]+ba/b[height<=720]/b"
CONTAINERS = "mp4/mkv"

_NUMBER = (int, float)
PASSED: dict[str, tuple[type, ...]] = {
    "age_limit": (int,),
    "allow_multiple_audio_streams": (bool,),
    "buffersize": (int,),
    "check_formats": (bool, str),
    "client_certificate": (str,),
    "client_certificate_key": (str,),
    "client_certificate_password": (str,),
    "concurrent_fragment_downloads": (int,),
    "dynamic_mpd": (bool,),
    "extractor_args": (Mapping,),
    "extractor_retries": (int,),
    "file_access_retries": (int,),
    "format": (str,),
    "format_sort": (list, tuple),
    "format_sort_force": (bool,),
    "fragment_retries": (int,),
    "geo_bypass": (bool,),
    "geo_bypass_country": (str,),
    "geo_bypass_ip_block": (str,),
    "geo_verification_proxy": (str,),
    "hls_split_discontinuity": (bool,),
    "hls_use_mpegts": (bool,),
    "http_chunk_size": (int,),
    "http_headers": (Mapping,),
    "js_runtimes": (Mapping,),
    "legacyserverconnect": (bool,),
    "max_filesize": (int,),
    "max_sleep_interval": _NUMBER,
    "merge_output_format": (str,),
    "min_filesize": (int,),
    "nocheckcertificate": (bool,),
    "noresizebuffer": (bool,),
    "prefer_free_formats": (bool,),
    "prefer_insecure": (bool,),
    "ratelimit": _NUMBER,
    "remote_components": (list, tuple),
    "retries": (int,),
    "sleep_interval": _NUMBER,
    "sleep_interval_requests": _NUMBER,
    "socket_timeout": _NUMBER,
    "source_address": (str,),
    "throttledratelimit": _NUMBER,
    "videopassword": (str,),
}
"""The options that may be passed on, with their types."""

_PROGRAMS = "it starts a program, which an option of a download must not"
_PLACES = "mien decides where files are stored"
REFUSED = {
    **dict.fromkeys(
        ("exec", "exec_cmd", "exec_before_dl_cmd", "netrc_cmd", "external_downloader"), _PROGRAMS
    ),
    **dict.fromkeys(("external_downloader_args", "postprocessor_args", "ffmpeg_location"), _PROGRAMS),
    **dict.fromkeys(("postprocessors", "post_hooks", "progress_hooks", "postprocessor_hooks"), _PROGRAMS),
    **dict.fromkeys(("plugin_dirs", "plugins"), "it loads code; install the plugin into this environment"),
    **dict.fromkeys(("outtmpl", "paths", "cachedir", "download_archive", "print_to_file"), _PLACES),
    "cookiesfrombrowser": "it reads a browser's profile; name a cookies_file in the identity",
    **dict.fromkeys(("cookiefile", "cookies"), "name a cookies_file in the identity"),
    "proxy": "name it as proxy of the identity",
    **dict.fromkeys(("username", "password", "usenetrc"), "passwords are not supported; use cookies"),
    "enable_file_urls": "it lets an answer of the platform read this machine's files",
    "compat_opts": "some of them switch off yt-dlp's own safeguards",
    "config_location": "no configuration file of yt-dlp is read; write it here",
    **dict.fromkeys(("ignoreerrors", "ignore_no_formats_error"), "a failure would look like a success"),
}


def download_options(
    identity: Identity, *, ytdlp_options: Mapping[str, Any], timeout_seconds: float, target: Path
) -> dict[str, Any]:
    """Parameters that download into the folder `target`, as `identity`. `params["logger"]` is a `Log`.

    Raises:
        ConfigError: a key that may not be passed through, or of the wrong type.
        CookiesError: the identity's cookies file cannot be used.
    """
    from mien.ingest.ffmpeg import find_ffmpeg

    return request_options(identity, ytdlp_options=ytdlp_options, timeout_seconds=timeout_seconds) | {
        "format": ytdlp_options.get("format") or DEFAULT_FORMAT,
        "merge_output_format": ytdlp_options.get("merge_output_format") or CONTAINERS,
        "ffmpeg_location": find_ffmpeg(),
        "paths": {"home": str(target)},
        # A file of another format or length is another file and must not be resumed.
        "outtmpl": {"default": "%(format_id)s-%(filesize,filesize_approx|0)d.%(ext)s"},
        "restrictfilenames": True,
        "continuedl": True,
        "overwrites": False,
        "updatetime": False,
        "noplaylist": True,
    }


def request_options(
    identity: Identity, *, ytdlp_options: Mapping[str, Any], timeout_seconds: float
) -> dict[str, Any]:
    """Parameters to ask for pages and lists, without those of a download."""
    check_passed(ytdlp_options)
    passed = copy.deepcopy(dict(ytdlp_options))
    options: dict[str, Any] = {
        "quiet": True,
        "noprogress": True,
        "no_color": True,
        "cachedir": False,
        "ignoreerrors": False,
        "socket_timeout": timeout_seconds,
        # Broken connections are resumed at once; the run repeats whatever needs a pause.
        "retries": 3,
        "fragment_retries": 3,
        "extractor_retries": 1,
        "file_access_retries": 1,
        **passed,
        "logger": Log(secrets_of(identity, ytdlp_options)),
        "js_runtimes": js_runtimes(passed.get("js_runtimes")),
        "extractor_args": _extractor_args(passed.get("extractor_args", {}), identity.po_token),
    }
    if identity.proxy:
        options["proxy"] = identity.proxy
    if identity.cookies_file:
        options["cookiefile"] = io.StringIO(netscape(read_cookies(identity.cookies_file)))
    if identity.user_agent:
        options["http_headers"] = {**options.get("http_headers", {}), "User-Agent": identity.user_agent}
    return options


def check_passed(ytdlp_options: Mapping[str, Any]) -> None:
    """Raises ConfigError, naming the key, if an option may not be passed on to yt-dlp."""
    for key, value in ytdlp_options.items():
        where = f"acquire.ytdlp_options.{key}"
        if key in REFUSED:
            raise ConfigError(f"{where} is refused: {REFUSED[key]}; remove it")
        if key not in PASSED:
            near = difflib.get_close_matches(key, PASSED, n=1)
            hint = f"did you mean {near[0]}?" if near else "see PASSED in ingest/platforms/ytdlp/options.py"
            raise ConfigError(f"{where}: this is not among the options that are passed on; {hint}")
        kinds = PASSED[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            expected = " or ".join(kind.__name__.lower() for kind in kinds)
            raise ConfigError(f"{where} must be of type {expected}; got {type(value).__name__}; correct it")
    for ie, arguments in ytdlp_options.get("extractor_args", {}).items():
        if not isinstance(arguments, Mapping) or not all(
            isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
            for value in arguments.values()
        ):
            raise ConfigError(
                f"acquire.ytdlp_options.extractor_args.{ie} is a table of lists of strings, "
                'as in youtube = { player_client = ["web"] }; correct it'
            )
    for name, settings in ytdlp_options.get("js_runtimes", {}).items():
        if not isinstance(settings, Mapping):
            raise ConfigError(
                f"acquire.ytdlp_options.js_runtimes.{name} is a table; "
                'write { path = "/path/to/it" } or {}'
            )


def _extractor_args(passed: Mapping[str, Any], po_token: str) -> dict[str, dict[str, list[str]]]:
    arguments = {ie: {name: list(values) for name, values in table.items()} for ie, table in passed.items()}
    if po_token:
        youtube = arguments.setdefault("youtube", {})
        tokens = [token.strip() for token in po_token.split(",") if token.strip()]
        youtube["po_token"] = [*youtube.get("po_token", []), *tokens]
    return arguments
