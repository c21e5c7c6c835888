"""The part of a platform that yt-dlp implements: listing, downloading and classifying errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mien.ingest.errors import MienError
from mien.ingest.platforms.acceptance import AcceptancePolicy
from mien.ingest.platforms.page_budget import PageBudget, UnlimitedPageBudget
from mien.ingest.platforms.platform import Downloader, Lister
from mien.ingest.platforms.ytdlp.rules import SiteRules
from mien.ingest.rate.identity import Identity


class YtDlpPlatform:
    """A subclass adds the address forms and `find`. yt-dlp is imported on first use, as that is slow."""

    rules: ClassVar[SiteRules] = SiteRules()
    checks_addresses: ClassVar[bool] = True
    """Whether URLs are foreign input, so that private addresses must be refused."""

    def lister(
        self,
        *,
        identities: tuple[Identity, ...],
        ytdlp_options: Mapping[str, Any],
        timeout_seconds: float,
        page_budget: PageBudget | None = None,
        allow_private_addresses: bool = False,
    ) -> Lister:
        from mien.ingest.platforms.ytdlp.lister import YtDlpLister

        return YtDlpLister(
            rules=self.rules,
            identities=identities,
            ytdlp_options=ytdlp_options,
            timeout_seconds=timeout_seconds,
            page_budget=page_budget or UnlimitedPageBudget(),
            only_public=self.checks_addresses and not allow_private_addresses,
        )

    def downloader(
        self,
        *,
        ytdlp_options: Mapping[str, Any],
        policy: AcceptancePolicy,
        timeout_seconds: float,
        max_bytes: int | None = None,
        allow_private_addresses: bool = False,
    ) -> Downloader:
        from mien.ingest.platforms.ytdlp.download import YtDlpDownloader

        return YtDlpDownloader(
            rules=self.rules,
            ytdlp_options=ytdlp_options,
            policy=policy,
            timeout_seconds=timeout_seconds,
            max_bytes=max_bytes,
            only_public=self.checks_addresses and not allow_private_addresses,
        )

    def classify(self, error: BaseException, *, name: str, warnings: Sequence[str] = ()) -> MienError:
        from mien.ingest.platforms.secrets import Secrets
        from mien.ingest.platforms.ytdlp.errors import translated

        return translated(error, name=name, secrets=Secrets(iter(())), warnings=warnings, rules=self.rules)
