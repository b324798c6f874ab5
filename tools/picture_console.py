"""Take the README's picture of the console: the demo's gateway, after its 76 requests, in headless Chromium.

python tools/picture_console.py        # writes docs/images/console.png; needs chromium, and `make .venv/dev`
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent.parent / "docs/images/console.png"

WIDTH, HEIGHT = 1280, 860

READY = "The gateway stays up"


def main() -> None:
    browser = os.environ.get("TURNOUT_BROWSER") or shutil.which("chromium")
    if not browser:
        sys.exit("no Chromium is here: apt-get install chromium, or name a browser in TURNOUT_BROWSER")
    with tempfile.TemporaryDirectory() as folder:
        demo = subprocess.Popen(
            [sys.executable, "-m", "turnout.cli", "demo"], cwd=folder, stdout=subprocess.PIPE, text=True
        )
        try:
            take(address_of(demo), browser)
        finally:
            demo.terminate()
            demo.wait()
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1024} KB")


def address_of(demo: subprocess.Popen[str]) -> str:
    """The gateway's address, once every request has been made."""
    address = ""
    for line in demo.stdout or ():
        print(line, end="")
        if line.startswith("Turnout demo on "):
            address = line.split()[3].rstrip(":")
        if READY in line:
            return address
    sys.exit("the demo ended before it said that its gateway stays up")


def take(address: str, browser: str) -> None:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(f"{address}/console#/")
        page.wait_for_selector("main h1")
        page.wait_for_selector(".loading", state="detached")
        page.wait_for_selector(".figure")
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(path=PICTURE)
        chromium.close()


if __name__ == "__main__":
    main()
