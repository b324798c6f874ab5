"""The audit's page in a real browser: it fits a phone, its script works under its own policy, a hostile name does not.

Chromium is started by itself, without any driver: a page of the test's own holds the audit's page in a frame, does to
it what a person would, and writes down what came of it.
"""

import json
import os
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from support.reports import hostile_report, large_report
from turnout.lab.audit.page import page_of

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")

QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

HOLDER = """<!doctype html><meta charset="utf-8">
<iframe width="%d" height="800" srcdoc="%s"></iframe><pre id="told"></pre>
<script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const page = frame.contentDocument, told = {};
  try { (%s)(page, told); } catch (error) { told.error = String(error); }
  document.querySelector("#told").textContent = JSON.stringify(told);
});
</script>"""

LOOK = """(page, told) => {
  const view = page.defaultView;
  told.title = page.title;
  told.scripted = page.documentElement.classList.contains("scripted");
  told.over = page.documentElement.scrollWidth - page.documentElement.clientWidth;
  told.loads = view.performance.getEntriesByType("resource").length;
  told.styled = view.getComputedStyle(page.querySelector(".badge")).whiteSpace;
  told.images = page.images.length;
}"""

USE = """(page, told) => {
  const view = page.defaultView, at = (x, y) => ({ bubbles: true, clientX: x, clientY: y, pointerType: "mouse" });
  const tip = page.querySelector(".tip"), plot = page.querySelector("#days svg.plot");
  plot.querySelectorAll(".hit")[2].dispatchEvent(new view.PointerEvent("pointermove", at(50, 50)));
  told.pointed = tip.hidden ? null : tip.querySelector("b").textContent;
  const key = (name) => plot.dispatchEvent(new view.KeyboardEvent("keydown", { key: name, bubbles: true }));
  key("ArrowRight");
  told.right = tip.querySelector("b").textContent;
  key("Escape");
  told.left = tip.hidden;
  const table = page.querySelectorAll("table.sortable")[0], head = table.tHead.rows[0].cells[2];
  const first = () => table.tBodies[0].rows[0].cells[2].textContent;
  head.querySelector("button").click();
  told.down = [head.getAttribute("aria-sort"), first()];
  head.querySelector("button").click();
  told.up = [head.getAttribute("aria-sort"), first()];
  told.copies = page.querySelectorAll(".snippet button").length;
}"""


def tried(tmp_path: Path, page: str, deed: str, width: int = 360):
    holder = tmp_path / "holder.html"
    holder.write_text(HOLDER % (width, escape(page), deed), encoding="utf-8")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [str(CHROMIUM), *QUIET, *root, f"--user-data-dir={tmp_path / 'user'}", "--dump-dom", holder.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r'<pre id="told">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    return json.loads(unescape(found[1]))


@pytest.mark.parametrize("width", [360, 1440])
def test_it_fits_and_runs_only_its_own_script(tmp_path: Path, width: int):
    told = tried(tmp_path, page_of(large_report()), LOOK, width)
    assert told == {
        "title": "turnout audit: $7,200 was spent at list price",
        "scripted": True,
        "over": 0,
        "loads": 0,
        "styled": "nowrap",
        "images": 0,
    }


def test_a_hostile_name_does_nothing(tmp_path: Path):
    told = tried(tmp_path, page_of(hostile_report()), LOOK)
    assert told["title"].startswith("turnout audit: $90")
    assert (told["scripted"], told["over"], told["loads"], told["images"]) == (True, 0, 0, 0)


def test_the_policy_stops_what_is_not_the_pages_own(tmp_path: Path):
    broken = page_of(large_report()).replace("</main>", "<script>document.title = 'broken'</script></main>")
    assert tried(tmp_path, broken, LOOK)["title"].startswith("turnout audit")


def test_tips_follow_pointer_and_keys_and_tables_sort(tmp_path: Path):
    told = tried(tmp_path, page_of(large_report()), USE)
    assert told == {
        "pointed": "3 Sep: $120.00",
        "right": "4 Sep: $120.00",
        "left": True,
        "down": ["descending", "119"],
        "up": ["ascending", "100"],
        "copies": 1,
    }
