"""A real browser for the reviewer page; Debian's Chromium, which `.ci/run` installs where it is missing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page, expect

from deployments.browser import browsing as opened

_PATIENCE = 60_000  # milliseconds; bounds a hang, and no test waits for it to pass
expect.set_options(timeout=_PATIENCE)


@asynccontextmanager
async def browsing(**options: Any) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page with a test's patience, and what its console complained about."""
    async with opened(**options) as (page, complaints):
        page.set_default_timeout(_PATIENCE)
        yield page, complaints
