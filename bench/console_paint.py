"""When the console paints with a large ledger, in headless Chromium: python bench/console_paint.py [--rows 1000000]

The ledger is filled as `budget_start.py` does; `--file` keeps it and takes it as it is the next time. Each page is
opened in a new context, so nothing of it is in the browser's cache. TURNOUT_BROWSER names another Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from playwright.async_api import Browser, async_playwright

sys.path.insert(0, str(Path(__file__).parent))

from budget_start import filled_ledger

CHROMIUM = "/usr/bin/chromium"
TIMES = 6
PAGES = {"": ".figure", "tokens": "table tbody tr", "models": "table tbody tr"}
"""What has come once a page shows its figures."""

PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"

CONFIG = """
[store]
ledger = "sqlite:///{file}"
[providers.lab]
dialect = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
[models."lab/m0"]
tier = "mid"
price = {{ input = 1, output = 4 }}
[budgets.company]
amount_usd = 100000
"""


async def opened(browser: Browser, url: str, shown: str) -> tuple[float, float]:
    """Seconds until the first paint, and until figures stand there."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = await context.new_page()
        begun = time.perf_counter()
        await page.goto(url)
        await page.wait_for_selector(shown)
        figures = time.perf_counter() - begun
        return float(await page.evaluate(PAINTED)) / 1_000, figures
    finally:
        await context.close()


async def visit(gateway: str) -> None:
    async with async_playwright() as playwright:
        path = os.environ.get("TURNOUT_BROWSER", CHROMIUM)
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            print(f"{'page':12}{'first paint, s':>20}{'figures, s':>20}")
            for page, shown in PAGES.items():
                told = [await opened(browser, f"{gateway}/console#/{page}", shown) for _ in range(TIMES)]
                spans = [f"{min(seconds):.2f} to {max(seconds):.2f}" for seconds in zip(*told, strict=True)]
                print(f"{page or 'overview':12}{spans[0]:>20}{spans[1]:>20}", flush=True)
        finally:
            await browser.close()


async def served(file: Path, folder: Path) -> None:
    """Pages of a gateway with this ledger."""
    config = folder / "turnout.toml"
    config.write_text(CONFIG.format(file=file))
    begun = time.perf_counter()
    serve = (sys.executable, "-m", "turnout.cli", "serve", "--config", str(config), "--port", "0")
    gateway = await asyncio.create_subprocess_exec(*serve, stderr=asyncio.subprocess.PIPE)
    try:
        assert gateway.stderr is not None
        said = (await asyncio.wait_for(gateway.stderr.readline(), 120)).decode()
        if "listening on" not in said:
            raise RuntimeError(f"the gateway did not start: {said}")
        print(f"listens after {time.perf_counter() - begun:.1f} s")
        await visit(said.strip().rpartition(" ")[2])
    finally:
        gateway.terminate()
        await gateway.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--file", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file: Path = (args.file or folder / "ledger.db").resolve()
        filled_ledger(file, args.rows).close()
        asyncio.run(served(file, folder))


if __name__ == "__main__":
    main()
