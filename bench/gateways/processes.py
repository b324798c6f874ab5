"""A gateway as a tree of processes: started on one core, its CPU and memory read from /proc, held still, ended.

Only what was started here is ever signalled, by its id.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from gateways.installing import Home
from gateways.peers import Peer

__all__ = ["Cores", "Running", "alone", "free_port", "start"]

TICKS = os.sysconf("SC_CLK_TCK")
ASK_S = 0.02
PATIENCE_S = 120.0
END_S = 10.0


class Cores:
    """Which core the gateway has, and which the rest: the same where there is only one."""

    def __init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.gateway, self.rest = cores[0], cores[-1]

    @property
    def shared(self) -> bool:
        return self.gateway == self.rest


class Running:
    """A gateway that answers on `port`."""

    def __init__(self, peer: Peer, process: subprocess.Popen[bytes], port: int, headers: tuple[str, ...]) -> None:
        self.peer, self.process, self.port, self.headers = peer, process, port, headers
        self.start_s = 0.0

    def tree(self) -> list[int]:
        """Its process and all that came of it."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found, waiting = list[int](), [self.process.pid]
        while waiting:
            found.append(waiting.pop())
            waiting += children.get(found[-1], [])
        return found

    def cpu_s(self) -> float:
        """User and system time so far."""
        ticks = 0
        for pid in self.tree():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def memory_mb(self) -> float:
        """Resident memory; what processes of the tree share counts in each."""
        kilobytes = 0
        for pid in self.tree():
            with suppress(OSError, ValueError):
                status = Path(f"/proc/{pid}/status").read_text()
                kilobytes += int(status.partition("VmRSS:")[2].split()[0])
        return kilobytes / 1024

    def hold(self) -> None:
        """Let it do nothing while another is measured."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        self.go_on()
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait(END_S)

    def _signal(self, which: signal.Signals) -> None:
        if self.process.poll() is None:
            for pid in self.tree():
                with suppress(ProcessLookupError):
                    os.kill(pid, which)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def start(peer: Peer, home: Home, folder: Path, *, upstream: int, cores: Cores, body: bytes) -> Running | str:
    """The gateway once it has answered `body` with a 200; or why it has not."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    words: dict[str, object] = {
        "port": port,
        "spare": free_port(),
        "upstream": upstream,
        "folder": folder,
        "home": home.folder,
        "binary": home.binary,
        "python": sys.executable,
    }

    def told(text: str) -> str:
        for word, value in words.items():
            text = text.replace("{" + word + "}", str(value))
        return text

    for name, text in peer.files.items():
        (folder / name).write_text(told(text))
    env = {**os.environ, "HOME": str(folder), **{name: told(value) for name, value in peer.env.items()}}
    command = ["taskset", "-c", str(cores.gateway), *map(told, peer.command)]
    log = folder / "log"
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env, cwd=folder)
    running = Running(peer, process, port, tuple(map(told, peer.headers)))
    said = _until_it_answers(running, body)
    if said:
        running.end()
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:]
        return f"did not answer: {said}; its log ends: {''.join(last)[:200]}"
    running.start_s = time.monotonic() - began
    return running


def _until_it_answers(running: Running, body: bytes) -> str:
    """Ask until it says 200; what it said instead at the end."""
    headers = dict(header.split(": ", 1) for header in running.headers) | {"content-type": "application/json"}
    until, said = time.monotonic() + PATIENCE_S, "nothing"
    while time.monotonic() < until:
        if running.process.poll() is not None:
            return f"it ended with {running.process.returncode}"
        with suppress(OSError, HTTPException):
            connection = HTTPConnection("127.0.0.1", running.port, timeout=10)
            try:
                connection.request("POST", running.peer.path, body, headers)
                answer = connection.getresponse()
                said = f"{answer.status} {answer.read()[:200]!r}"
                if answer.status == 200:
                    return ""
            finally:
                connection.close()
        time.sleep(ASK_S)
    return said


@contextmanager
def alone(running: Running | None, others: list[Running]) -> Generator[None]:
    """The others held still while one is measured."""
    for other in others:
        if other is not running:
            other.hold()
    if running is not None:
        running.go_on()
    try:
        yield
    finally:
        for other in others:
            other.go_on()
