"""Runs what a page of docs shows: an HTML comment on the line before a fence says what its block is.

    <!-- file: turnout.toml -->     the block is written to that file
    <!-- serve: turnout.toml -->    as above, and `turnout serve` runs with it until the page's end
    <!-- runs -->                   the block is run: python (one session a page, `await` may stand anywhere) or sh
    <!-- prints -->                 the block is what the last one that ran must have printed
    <!-- raises: NAME -->           the block is run, python, and must raise an exception of that name

Files are in a folder of the page's own, where its blocks run. In every block `http://127.0.0.1:9000` is a provider that
speaks every format and always answers "Paris.", and `http://127.0.0.1:8787` the gateway that is served. In a file the
registry's providers are given that provider's base_url where they have none. Nothing else can be reached.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from turnout.providers.registry import PROVIDERS

__all__ = ["Block", "Page", "blocks_of"]

PROVIDER, GATEWAY = "http://127.0.0.1:9000", "http://127.0.0.1:8787"
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
VERBS = ("file", "serve", "runs", "prints", "raises")

_MARKED = re.compile(
    r"^(?P<indent> *)<!-- (?P<verb>\w+)(?:: (?P<what>[^>]+?))? -->\n"
    r" *(?P<fence>```+)(?P<language>\w+)[^\n]*\n(?P<code>.*?)\n? *(?P=fence)\s*$",
    re.MULTILINE | re.DOTALL,
)
_TABLE = re.compile(r"^\[providers\.(\w+)\]\n(?!(?:[^\[]*\n)?base_url)", re.MULTILINE)


@dataclass
class Block:
    """One marked block of a page; `line` is where its code begins, from 1."""

    verb: str
    what: str
    language: str
    code: str
    line: int


def blocks_of(text: str) -> list[Block]:
    """The marked blocks of a page, in order. An unknown mark before a fence is an error: a misspelt one would never
    run."""
    found: list[Block] = []
    for match in _MARKED.finditer(text):
        verb, line = match["verb"], text.count("\n", 0, match.start("code")) + 1
        assert verb in VERBS, f"line {line - 2}: <!-- {verb} --> is no mark; there are {', '.join(VERBS)}"
        pad = len(match["indent"])
        code = "\n".join(part[pad:] for part in match["code"].split("\n"))
        found.append(Block(verb, match["what"] or "", match["language"], code, line))
    return found


class Page:
    """`with Page(file, folder, provider_url) as page: page.run()`."""

    def __init__(self, file: Path, folder: Path, provider: str) -> None:
        self._file = file
        self._folder = folder
        self._urls = {PROVIDER: provider}
        self._parts = ExitStack()
        self._python: subprocess.Popen[str] | None = None
        bin_folder = str(Path(sys.executable).parent)
        unreachable = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
        self._env = {
            **os.environ,
            **unreachable,
            **dict.fromkeys(KEYS, "sk-of-a-page"),
            "PATH": bin_folder + os.pathsep + os.environ["PATH"],
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def run(self) -> int:
        """Do what the page shows, in its order; how many blocks ran. AssertionError says where it is not so."""
        printed, ran = "", 0
        for block in blocks_of(self._file.read_text("utf-8")):
            if block.verb in {"file", "serve"}:
                self._write(block)
            elif block.verb == "prints":
                assert printed.strip() == block.code.strip(), f"{self._file}:{block.line}: it printed\n{printed}"
            else:
                printed = self._ran(block)
                ran += 1
        return ran

    def _write(self, block: Block) -> None:
        def pointed(match: re.Match[str]) -> str:
            path = urlsplit(PROVIDERS[match[1]].base_url).path if match[1] in PROVIDERS else None
            return match[0] + (f'base_url = "{PROVIDER}{path}"\n' if path is not None else "")

        text = block.code + "\n"
        if block.what.endswith(".toml"):
            text = _TABLE.sub(pointed, text)
        target = self._folder / block.what
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self._real(text), "utf-8")
        if block.verb == "serve":
            self._serve(target)

    def _serve(self, config: Path) -> None:
        command = [sys.executable, "-m", "turnout.cli", "serve", "--config", str(config), "--port", "0"]
        served = subprocess.Popen(command, cwd=self._folder, env=self._env, stderr=subprocess.PIPE, text=True)
        self._parts.callback(_ended, served)
        assert served.stderr is not None
        for line in served.stderr:
            if "listening on " in line:
                self._urls[GATEWAY] = line.rpartition(" ")[2].strip()
                return
        raise AssertionError(f"{self._file}: turnout serve did not start")

    def _ran(self, block: Block) -> str:
        if block.language == "python":
            return self._session(block)
        assert block.language in {"sh", "bash"}, f"{self._file}:{block.line}: {block.language} cannot be run"
        told = subprocess.run(
            ["/usr/bin/env", "bash", "-euo", "pipefail", "-c", self._real(block.code)],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == 0, f"{self._file}:{block.line}: {told.stderr}"
        return told.stdout

    def _session(self, block: Block) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-W", "error", str(Path(__file__).with_name("page_session.py"))],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._parts.callback(_ended, self._python)
        assert self._python.stdin is not None and self._python.stdout is not None
        ask = {"page": str(self._file), "line": block.line, "code": self._real(block.code)}
        self._python.stdin.write(json.dumps(ask) + "\n")
        self._python.stdin.flush()
        answered = self._python.stdout.readline()
        assert answered, f"{self._file}:{block.line}: the session ended"
        told: dict[str, Any] = json.loads(answered)
        assert told["raised"] == (block.what or None), f"{self._file}:{block.line}: {told['trace'] or 'raised nothing'}"
        return told["printed"]

    def _real(self, text: str) -> str:
        for shown, url in self._urls.items():
            text = text.replace(shown, url)
        return text


def _ended(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()  # a session ends by itself, and closes what it opened
    else:
        process.terminate()
    try:
        process.wait(20)
    finally:
        process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
