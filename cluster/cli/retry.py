"""`mien retry`: puts failed videos back into the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mien.cluster.cli.options import echo_json, existing_catalog, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded


@click.command(
    epilog="\b\nExample: mien retry --class DeadlineExceededError\n"
    "At least one of --class, --id, --identity and --all is required.\n"
    "Exit codes: 0 success, even if no video had failed; 2 nothing was selected, the class or video\n"
    "is unknown, or the identity is not paused."
)
@click.option(
    "--class", "error_class", help="Retry failures of this error class, as listed by `mien status`."
)
@click.option("--id", "needle", help="Retry one video: its id, path or the key of a sample.")
@click.option("--all", "everything", is_flag=True, help="Retry everything that failed.")
@click.option("--identity", help="End the pause of this egress identity now. Fix its cause first.")
@click.option("--platform", help="With --identity: end only its pause on this platform.")
@with_config
@json_option
def command(
    *,
    error_class: str | None,
    needle: str | None,
    everything: bool,
    identity: str | None,
    platform: str | None,
    loaded: Loaded,
    as_json: bool,
) -> None:
    """Puts failed videos and segments back into the queue for the next `mien run`, and ends pauses."""
    from mien.cluster.report.formatting import pluralize
    from mien.ingest.errors import UsageError

    if platform and not identity:
        raise UsageError("--platform needs --identity NAME")
    chooses = bool(error_class or needle or everything)
    if not (chooses or identity):
        raise UsageError("nothing selected; use --class NAME, --id ID, --identity NAME or --all")
    count = 0
    with existing_catalog(loaded) as catalog:
        failed = catalog.error_classes()
        if error_class and error_class not in failed:
            _refuse_unknown(error_class)
        history = catalog.explain(needle) if needle else None
        if needle and history is None:
            raise UsageError(f"no video {needle!r} in the catalog; use an id, a path or the key of a sample")
        reopened = catalog.reopen(identity, platform) if identity else []
        if identity and not reopened:
            where = f" on {platform}" if platform else ""
            raise UsageError(f"identity {identity} is not paused{where}; `mien status` shows the paused ones")
        if chooses:
            count = catalog.retry(error_class=error_class, key=history.video.key if history else None)
    if as_json:
        echo_json(
            {"videos_waiting_again": count, "identity_reopened": identity}
            | {"platforms_reopened": reopened, "failed_before": failed}
        )
        return
    if identity:
        click.echo(f"ended the pause of identity {identity} on {', '.join(reopened)}")
    if chooses:
        click.echo(f"{pluralize(count, 'video')} put back into the queue for the next `mien run`")
    if chooses and not count:
        classes = ", ".join(f"{name} ({number})" for name, number in failed.items())
        click.echo(f"failures in the catalog: {classes or 'none'}")


def _refuse_unknown(error_class: str) -> None:
    """Raises UsageError if there is no error class of this name. A class without failures is fine."""
    import difflib

    from mien.ingest import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    # These are errors of people and trainers, not of videos.
    others = errors.UsageError | errors.ReadError
    names = [
        kind.__name__ for kind in kinds if issubclass(kind, errors.MienError) and not issubclass(kind, others)
    ]
    if error_class not in names:
        (near,) = difflib.get_close_matches(error_class, names, n=1, cutoff=0.0)
        raise errors.UsageError(f"unknown error class {error_class}; did you mean {near}?")
