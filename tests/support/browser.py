"""A real browser for tests, driven by playwright, with what its console says: Debian's Chromium, or the one that
TURNOUT_BROWSER names. A Firefox of one's own is driven by WebDriver BiDi, and must know how to emulate colours by it
(Firefox ESR 153 does not).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["BROWSER", "audit", "browsing", "needs_browser"]

BROWSER = os.environ.get("TURNOUT_BROWSER") or shutil.which("chromium") or shutil.which("chromium-browser")


def needs_browser() -> None:
    """Skip, saying what is missing, where there is no browser to drive."""
    pytest.importorskip("playwright", reason="playwright is not installed; `make test` installs it")
    if not BROWSER:
        pytest.skip("no Chromium is here: apt-get install chromium, or name a browser in TURNOUT_BROWSER")


@asynccontextmanager
async def browsing(
    width: int = 1440, height: int = 900, scheme: str = "light"
) -> AsyncGenerator[tuple[Any, list[str]]]:
    """A page, and what went wrong in it: errors of its console, of its scripts, and requests to anywhere else."""
    from playwright.async_api import async_playwright

    wrong: list[str] = []
    async with async_playwright() as playwright:
        if "firefox" in Path(BROWSER or "").name:
            browser = await playwright.firefox.launch(executable_path=BROWSER, channel="moz-firefox")
        else:
            browser = await playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = await context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if "://127.0.0.1:" in asked.url else wrong.append(asked.url))
        try:
            yield page, wrong
        finally:
            await browser.close()


def axe() -> str:
    """The script of axe-core; skips where it is not installed."""
    file = Path(os.environ.get("AXE_CORE", ".agents/node_modules/axe-core/axe.min.js"))
    if not file.is_file():
        pytest.skip("axe-core is not here: npm install --prefix .agents axe-core, or name axe.min.js in AXE_CORE")
    return file.read_text("utf-8")


async def audit(page: Any) -> list[str]:
    """What axe-core finds serious or worse. Its script is run by the debugger's hand, which the page's policy does not
    bind."""
    await page.evaluate(axe())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{v['id']}: {v['help']} ({v['nodes'][0]['html'][:160]})"
        for v in found["violations"]
        if v["impact"] in {"serious", "critical"}
    ]
