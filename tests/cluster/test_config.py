import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.cluster.config import check_licences, fingerprint, load, weights_environment, weights_in_use
from mien.cluster.config.schema import known_keys
from mien.cluster.config.settings import Settings
from mien.cluster.config.show import as_json, as_toml, redact, rows
from mien.ingest.errors import ConfigError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a `mien.toml`, and no variables of the person who runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("MIEN_CONFIG", "MIEN_WEIGHTS_DIR", "MIEN_WEIGHTS_LICENCE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def settings(*flags: str) -> Settings:
    return load(flags=flags, environment={}).settings


def test_defaults_are_the_stages_own() -> None:
    loaded = load(environment={})
    assert loaded.settings.faces == type(loaded.settings.faces)()
    assert loaded.settings.transcribe == type(loaded.settings.transcribe)()
    assert loaded.origin("faces.detector").kind == "default"


def test_flags_over_environment_over_file(elsewhere: Path) -> None:
    (elsewhere / "mien.toml").write_text(
        "[transcribe]\nbeam_size = 2\nlanguage = 'de'\nthreads = 2\n[clip]\nrequire = ['speech']\n"
    )
    environment = {"MIEN_TRANSCRIBE__BEAM_SIZE": "3", "MIEN_TRANSCRIBE__THREADS": "3", "HOME": "/x"}
    loaded = load(flags=["transcribe.threads=4"], environment=environment)
    transcribe = loaded.settings.transcribe
    assert (transcribe.language, transcribe.beam_size, transcribe.threads) == ("de", 3, 4)
    origins = {key: (loaded.origin(key).kind, loaded.origin(key).where) for key in loaded.origins}
    assert origins == {
        "transcribe.language": ("file", "mien.toml"),
        "transcribe.beam_size": ("environment", "MIEN_TRANSCRIBE__BEAM_SIZE"),
        "transcribe.threads": ("flag", "--set transcribe.threads"),
        "clip.require": ("file", "mien.toml"),
    }


def test_which_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("mien.toml", 2), ("named.toml", 3), ("variable.toml", 4)):
        (elsewhere / name).write_text(f"[clip]\nmin_seconds = {seconds}\n")
    assert load(environment={}).settings.clip.min_seconds == 2
    monkeypatch.setenv("MIEN_CONFIG", "variable.toml")
    assert load(environment={}).settings.clip.min_seconds == 4
    assert load(file=Path("named.toml"), environment={}).settings.clip.min_seconds == 3
    with pytest.raises(ConfigError, match=r"no configuration file absent\.toml"):
        load(file=Path("absent.toml"))


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("faces.detecter", "faces.detector"),
        ("transcribe.beam", "transcribe.beam_size"),
        ("stor.root", "store.root"),
        ("engine.worker", "engine.workers"),
    ],
)
def test_unknown_key_names_the_nearest(elsewhere: Path, key: str, near: str) -> None:
    section, _, name = key.partition(".")
    (elsewhere / "bad.toml").write_text(f"[{section}]\n{name} = 1\n")
    ways: list[Callable[[], object]] = [
        lambda: load(flags=[f"{key}=1"], environment={}),
        lambda: load(environment={f"MIEN_{section}__{name}".upper(): "1"}),
        lambda: load(file=Path("bad.toml"), environment={}),
    ]
    for way in ways:
        with pytest.raises(ConfigError, match=rf"unknown key {key} .*did you mean {near}\?"):
            way()


def test_unrelated_key_has_no_suggestion() -> None:
    with pytest.raises(ConfigError, match="`mien config show` lists every key"):
        settings("qqqq=1")


@pytest.mark.parametrize(
    ("flag", "output"),
    [
        ("clip.min_seconds=soon", "clip.min_seconds: .*got 'soon' .*--set clip.min_seconds"),
        ("clip.require=lips", "clip.require: .*'speech' or 'face'"),
        ("clip.require=[]", r"\[clip\] require is empty"),
        ("clip.min_seconds=20", r"\[clip\] min_seconds \(20.0\) is more than max_seconds"),
        ("engine.max_attempts=0", "engine.max_attempts: .*greater than 0"),
        ("engine.workers.faces=-1", "engine.workers"),
        ("faces.detector=retina", "faces.detector"),
        ("faces=3", "faces"),
        ("clip.min_seconds", "is not KEY=VALUE"),
    ],
)
def test_wrong_value_says_which_and_from_where(flag: str, output: str) -> None:
    with pytest.raises(ConfigError, match=output) as caught:
        settings(flag)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"[clip\n", b"\xff\xfe", b"clip.min_seconds = \n"])
def test_broken_file_is_one_line(elsewhere: Path, content: bytes) -> None:
    (elsewhere / "mien.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"mien\.toml is not readable TOML") as caught:
        load(environment={})
    assert "\n" not in str(caught.value)


def test_lists_and_tables() -> None:
    assert settings("clip.require=speech,face").clip.require == ("speech", "face")
    assert settings('clip.require=["face"]').clip.require == ("face",)
    assert settings("engine.workers.faces=2", "engine.workers.transcribe=1").engine.workers == {
        "faces": 2,
        "transcribe": 1,
    }
    assert settings("faces.identity=false").faces.identity is False
    assert settings("transcribe.language=").transcribe.language == ""


def test_what_stages_share_is_set_once() -> None:
    found = settings("clip.require=face", "clip.min_seconds=2", "store.cache=/media")
    assert found.clip.require == ("face",)
    assert found.clip.min_seconds == 2
    assert found.fetch.cache_dir == "/media"
    assert not {"align.require", "align.fingerprint", "shards.run_id", "fetch.cache_dir"} & set(
        known_keys(Settings)
    )


def test_store_follows_its_root(elsewhere: Path) -> None:
    store = settings("store.root=here").store
    assert store.catalog_url == f"sqlite:///{elsewhere}/here/catalog.sqlite"
    assert store.shards_uri == f"{elsewhere}/here/shards"
    assert settings("store.shards=s3://bucket/x").store.shards_uri == "s3://bucket/x"


def test_shown_toml_reads_back_to_the_same(elsewhere: Path) -> None:
    flags = ["clip.require=face", "engine.workers.faces=2", 'transcribe.language="d\\e"', "engine.cpus=3"]
    loaded = load(flags=flags, environment={})
    text = as_toml(loaded)
    (elsewhere / "mien.toml").write_text(text)
    assert load(environment={}).settings == loaded.settings
    sections = {key.partition(".")[0] for key, _ in rows(loaded)}
    assert set(tomllib.loads(text)) == sections
    assert sections == set(Settings.__dataclass_fields__) - {"annotators"}, "none has options yet"
    assert 'require = ["face"]  # flag --set clip.require' in text


def test_shown_json_has_every_key() -> None:
    shown = as_json(load(flags=["clip.min_seconds=2"], environment={}))
    assert shown["clip.min_seconds"] == {"value": 2.0, "from": "flag", "where": "--set clip.min_seconds"}
    assert shown["engine.cpus"]["value"] is None
    assert set(shown) <= set(known_keys(Settings))


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("postgresql://me:geheim@host:5432/db", "postgresql://me:***@host:5432/db"),
        (
            "postgresql+psycopg://me:a%40b:c@host/db?sslmode=require",
            "postgresql+psycopg://me:***@host/db?sslmode=require",
        ),
        ("postgresql://host/db?user=me&password=geheim", "postgresql://host/db?user=me&password=***"),
        ("postgresql://me:geheim/?@@host/db", "postgresql://me:***@host/db"),
        ("s3://bucket/x?secret_key=abc&region=eu", "s3://bucket/x?secret_key=***&region=eu"),
        ("sqlite:////data/catalog.sqlite", "sqlite:////data/catalog.sqlite"),
        ("/plain/path", "/plain/path"),
    ],
)
def test_secrets_are_not_shown(secret: str, shown: str) -> None:
    assert redact(secret) == shown
    assert "geheim" not in as_toml(load(flags=[f"store.catalog={secret}"], environment={}))


def test_fingerprint_is_of_what_samples_depend_on() -> None:
    base = fingerprint(settings())
    assert base == fingerprint(settings())
    for same in (
        "engine.max_attempts=9",
        "store.root=x",
        "faces.threads=4",
        "shards.max_bytes=1000",
        "weights.dir=/w",
    ):
        assert fingerprint(settings(same)) == base, same
    for other in (
        "clip.min_seconds=2",
        "faces.detector=yunet_2023mar",
        "transcribe.beam_size=1",
        "split.threshold=0.6",
    ):
        assert fingerprint(settings(other)) != base, other
    # What is not looked for cannot matter.
    no_face = fingerprint(settings("clip.require=speech"))
    assert fingerprint(settings("clip.require=speech", "faces.min_face_pixels=99")) == no_face


def test_weights_in_use_and_their_licence() -> None:
    assert weights_in_use(settings()) == ("silero_vad_v6", "scrfd_500m", "arcface_w600k_mbf", "whisper-base")
    assert weights_in_use(settings("clip.require=speech")) == ("silero_vad_v6", "whisper-base")
    permissive = "weights.licence=permissive"
    with pytest.raises(ConfigError, match=r'scrfd_500m .*set faces\.detector = "yunet_2023mar"'):
        check_licences(settings(permissive))
    with pytest.raises(ConfigError, match=r"arcface_w600k_mbf .*set faces\.identity = false"):
        check_licences(settings(permissive, "faces.detector=yunet_2023mar"))
    check_licences(settings(permissive, "faces.detector=yunet_2023mar", "faces.identity=false"))
    check_licences(settings())


def test_alternatives_in_errors_can_be_set() -> None:
    from mien.pipelines.weights import WEIGHTS

    for weights in WEIGHTS.values():
        if weights.alternative:
            key, _, value = weights.alternative.partition(" = ")
            settings(f"{key}={value.strip(chr(34))}")


def test_short_names_of_the_weights_variables() -> None:
    environment = {"MIEN_WEIGHTS_DIR": "/w", "MIEN_WEIGHTS_LICENCE": "permissive"}
    found = load(environment=environment).settings
    assert (found.weights.dir, found.weights.licence) == ("/w", "permissive")
    assert weights_environment(found) == environment


@pytest.mark.parametrize(
    "flag",
    [
        "transcribe.beam_size=0",
        "faces.max_faces=0",
        "faces.detect_every_seconds=0",
        "faces.score_threshold=1.5",
        "align.lead_seconds=-1",
        "split.threshold=7",
        "split.min_seconds=80",
        "shards.max_bytes=-5",
    ],
)
def test_numbers_that_cannot_be_are_refused_by_name(flag: str) -> None:
    with pytest.raises(ConfigError, match=flag.split("=", maxsplit=1)[0].split(".", maxsplit=1)[0]):
        load(flags=[flag], environment={})
