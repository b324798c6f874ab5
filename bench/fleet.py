"""Several gateways on one hard budget, with faults: python bench/fleet.py [--gateways 4] [--shared valkey]

Starts real gateways, real engines and a provider on loopback; with --namespaces (Linux, root) each gateway in a network
namespace of its own, from which the engine's address can be cut off. First 2,000 requests at once on a budget that has
money for a few, then the same while two gateways are killed and Valkey restarted; then, for so many seconds, traffic on
a larger budget while gateways are killed (and started again), the engine of the shared state is restarted with the loss
of all it knew, stands still, or is cut off from one of them, and PostgreSQL crashes or stands still. Prints what the
provider was owed, what the budget allowed, what the ledger has, what clients saw and what was broken. Ends with 1 where
a cent too much was spent, something owed stands in no book, or an answered request has no row.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.ledgers import entries_since
from support.postgres import Server, own_server
from support.valkey import Valkey
from turnout.spend.ledger import Ledger
from turnout.store_rules import StoreConfig
from turnout.stores.opening import open_stores

NANO = 1_000_000_000
DURABLE = "-c fsync=off -c synchronous_commit=on -c max_connections=100 -c shared_buffers=64MB"
"""Of PostgreSQL: what it has committed outlives a crash of its processes, which is what is tried here."""
INSIDE = "TURNOUT_FLEET_INSIDE"
USAGE = {"prompt_tokens": 20, "completion_tokens": 150}
COST = 20 * 1_000 + 150 * 2_000
"""Nano-dollars of one answer, at 1 and 2 dollars a million tokens."""
ANSWER = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 150}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()
BODY = json.dumps(
    {"model": "lab/m", "max_tokens": 150, "messages": [{"role": "user", "content": "What is it, and why? " * 12}]}
).encode()


class Provider(asyncio.Protocol):
    """Answers after a while; counts every request that it was sent whole, whoever waits for the answer."""

    served = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET"):
            self.buffer = b""
            self.write(str(Provider.served).encode())
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) >= length:
            self.buffer = b""
            Provider.served += 1
            asyncio.get_running_loop().call_later(random.uniform(0.02, 0.3), self.write, ANSWER)  # noqa: S311

    def write(self, body: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )


async def provide(host: str) -> None:
    server = await asyncio.get_running_loop().create_server(Provider, host, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Network:
    """Where gateways run: all on loopback, or each in a network namespace of its own, joined by a bridge. Provider and
    engine have addresses of their own there."""

    provider, engine = "127.0.0.1", "127.0.0.1"

    def host(self, number: int) -> str:  # noqa: ARG002
        return "127.0.0.1"

    def inside(self, number: int) -> list[str]:  # noqa: ARG002
        """How a command begins that runs where that gateway does."""
        return []

    def cut(self, number: int, *, off: bool) -> None:
        """The engine cannot be reached from there any more, or can again."""


class Namespaces(Network):
    """To be made within a namespace of our own, so that nothing of the machine's network is touched."""

    provider, engine = "10.77.0.1", "10.77.0.2"

    def __init__(self, count: int) -> None:
        run("mkdir -p /run/netns", "mount -t tmpfs none /run/netns")
        run("ip link set lo up", "ip link add br0 type bridge", "ip link set br0 up")
        run(f"ip address add {self.provider}/24 dev br0", f"ip address add {self.engine}/24 dev br0")
        for number in range(count):
            run(f"ip netns add gw{number}", f"ip link add v{number} type veth peer name e0 netns gw{number}")
            run(f"ip link set v{number} master br0", f"ip link set v{number} up")
            inside = f"ip netns exec gw{number} ip"
            run(f"{inside} link set lo up", f"{inside} address add {self.host(number)}/24 dev e0")
            run(f"{inside} link set e0 up")

    def host(self, number: int) -> str:
        return f"10.77.0.{10 + number}"

    def inside(self, number: int) -> list[str]:
        return ["ip", "netns", "exec", f"gw{number}"]

    def cut(self, number: int, *, off: bool) -> None:
        run(f"ip netns exec gw{number} ip route {'add' if off else 'del'} blackhole {self.engine}/32")


def run(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True)


class Gateway:
    """One process at a port of its own, which it keeps when it is started again."""

    def __init__(self, folder: Path, config: str, network: Network, number: int) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        self.host, self.number = network.host(number), number
        self._inside = network.inside(number)
        self._file = folder / f"turnout-{self.port}.toml"
        self._file.write_text(config)
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "turnout.cli", "serve", "--config", str(self._file)]
        command = [*self._inside, *command, "--host", self.host, "--port", str(self.port)]
        with (self._folder / f"gateway-{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, cwd=self._folder)
        until = time.monotonic() + 120  # a busy machine starts slowly
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=1):
                return
            time.sleep(0.02)
        raise RuntimeError((self._folder / f"gateway-{self.port}.log").read_text())

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


class Seen:
    """What clients saw: how requests ended, and the ids of those that were answered."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.answered: list[str] = []
        self.slowest_s = 0.0

    async def ask(self, gateway: Gateway) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
                writer.write(
                    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: sk-fleet\r\n"
                    b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
                )
                raw = (await reader.read()).decode()
                writer.close()
        except (OSError, TimeoutError) as error:
            self.ended[type(error).__name__] += 1
            return
        head, _, body = raw.partition("\r\n\r\n")
        status = head.split(" ", 2)[1] if " " in head else "cut off"
        if status == "200":
            self.answered.append(head.partition("x-turnout-request-id: ")[2].partition("\r\n")[0])
        elif status.isdigit():
            with contextlib.suppress(ValueError):
                error = json.loads(body)["error"]
                status += f" {error.get('code') or error.get('type')}"
        self.ended[status] += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - begun)


def config(provider: str, store: StoreConfig, usd: float) -> str:
    return f"""
[keys.fleet]
key = "sk-fleet"
[providers.lab]
dialect = "openai-chat"
base_url = "http://{provider}/v1"
[models."lab/m"]
tier = "small"
price = {{ input = 1, output = 2 }}
[budgets.all]
amount_usd = {usd}
pacing = "off"
[server]
max_concurrency = 4000
queue_s = 30
[store]
ledger = "{store.ledger}"
shared = "{store.shared}"
folder = "{store.folder}"
"""


def start_provider(host: str) -> tuple[subprocess.Popen[str], str]:
    """The provider's process and address."""
    provider = subprocess.Popen([sys.executable, __file__, "provide", host], stdout=subprocess.PIPE, text=True)
    assert provider.stdout is not None
    return provider, f"{host}:{provider.stdout.readline().strip()}"


async def owed(provider: str) -> int:
    """Requests that the provider was sent."""
    host, _, port = provider.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /served HTTP/1.1\r\n\r\n")
    told = int((await reader.readuntil(b"\r\n\r\n") and await reader.read(100)).decode())
    writer.close()
    return told


def verdict(name: str, seen: Seen, usd: float, sent: int, ledger: Ledger) -> bool:
    """Print what came of it; whether all is well."""
    begun = datetime.now(UTC) - timedelta(days=1)
    ledger.flush()
    missing = [request_id for request_id in seen.answered if ledger.get(request_id) is None]
    sums = ledger.sums(begun, datetime.now(UTC) + timedelta(minutes=1), "all", sessions=False)
    rows, booked = sum(s.requests for s in sums), sum(s.cost_nano_usd for s in sums)
    lost = sum(entry.amount_nano_usd for entry in entries_since(ledger, begun))
    allowed = round(usd * NANO)
    print(f"{name}: budget ${usd:.4f}, the provider was owed ${sent * COST / NANO:.5f} ({sent} requests)")
    print(f"  ledger: ${booked / NANO:.5f} in {rows} rows, ${lost / NANO:.5f} entered for gateways that died")
    print(f"  clients: {dict(seen.ended.most_common())}, slowest {seen.slowest_s:.1f} s; rows lost: {len(missing)}")
    over = max(sent * COST, booked + lost) - allowed
    unbooked = sent * COST - booked - lost
    print(f"  {'over by $' + str(over / NANO) if over > 0 else 'not a cent over'}")
    if unbooked > 0:
        print(f"  ${unbooked / NANO} that the provider is owed stands in no book")
    return over <= 0 and unbooked <= 0 and not missing


class Fleet:
    """What one part runs on: gateways, the engines they share, and the network between them."""

    def __init__(
        self, network: Network, gateways: list[Gateway], valkey: Valkey | None, postgres: Server | None
    ) -> None:
        self.network, self.gateways, self.valkey, self.postgres = network, gateways, valkey, postgres
        self.broken: Counter[str] = Counter()

    async def kill(self, gateway: Gateway) -> None:
        """As the kernel does it; then it is started again."""
        self.broken["gateway killed"] += 1
        gateway.kill()
        await asyncio.to_thread(gateway.start)

    async def empty_valkey(self) -> None:
        if self.valkey is not None:
            self.broken["Valkey killed, empty again"] += 1
            self.valkey.kill()
            await asyncio.sleep(0.5)
            await asyncio.to_thread(self.valkey.start)

    async def stop_valkey(self, seconds: float) -> None:
        if self.valkey is not None:
            self.broken["Valkey stood still"] += 1
            self.valkey.signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            self.valkey.signal(signal.SIGCONT)

    async def cut(self, gateway: Gateway, seconds: float) -> None:
        """Away from Valkey alone; on loopback nothing can be cut."""
        if isinstance(self.network, Namespaces):
            self.broken["gateway cut off"] += 1
            self.network.cut(gateway.number, off=True)
            await asyncio.sleep(seconds)
            self.network.cut(gateway.number, off=False)

    async def crash_postgres(self, seconds: float) -> None:
        if self.postgres is not None:
            self.broken["PostgreSQL crashed"] += 1
            self.postgres.kill()
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.postgres.start)

    async def stop_postgres(self, seconds: float) -> None:
        if self.postgres is not None:
            self.broken["PostgreSQL stood still"] += 1
            self.postgres.freeze()
            await asyncio.sleep(seconds)
            self.postgres.thaw()


async def rush(fleet: Fleet, count: int) -> Seen:
    """So many requests at once."""
    seen = Seen()
    await asyncio.gather(*(seen.ask(fleet.gateways[n % len(fleet.gateways)]) for n in range(count)))
    return seen


async def broken_rush(fleet: Fleet, count: int, provider: str) -> Seen:
    """So many at once; when the first are with the provider, two gateways are killed and Valkey is restarted."""

    async def break_things() -> None:
        while await owed(provider) < 10:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.01)
        await fleet.kill(fleet.gateways[0])
        await fleet.empty_valkey()
        await fleet.kill(fleet.gateways[1])

    breaking = asyncio.create_task(break_things())
    seen = await rush(fleet, count)
    await breaking
    return seen


async def storm(fleet: Fleet, *, seconds: float, rate: int) -> Seen:
    """Traffic for a while, in which one thing after the other breaks."""
    seen, dice, until = Seen(), random.Random(7), time.monotonic() + seconds  # noqa: S311
    asking: set[asyncio.Task[None]] = set()

    async def break_things() -> None:
        while True:
            for fault in (
                lambda: fleet.kill(dice.choice(fleet.gateways)),
                fleet.empty_valkey,
                lambda: fleet.cut(dice.choice(fleet.gateways), 7),
                lambda: fleet.crash_postgres(3),
                lambda: fleet.kill(dice.choice(fleet.gateways)),
                lambda: fleet.stop_valkey(2),
                lambda: fleet.stop_postgres(3),
            ):
                await asyncio.sleep(2.5)
                if time.monotonic() > until - 3:
                    return
                await fault()

    breaking = asyncio.create_task(break_things())
    while time.monotonic() < until:
        task = asyncio.create_task(seen.ask(dice.choice(fleet.gateways)))
        asking.add(task)
        task.add_done_callback(asking.discard)
        await asyncio.sleep(1 / rate)
    await breaking
    await asyncio.gather(*asking)
    return seen


async def part(name: str, usd: float, folder: Path, told: argparse.Namespace, network: Network) -> bool:
    """One part on engines and gateways of its own; whether all was well."""
    with contextlib.ExitStack() as closing:
        provider, port = start_provider(network.provider)
        closing.callback(provider.kill)
        valkey = closing.enter_context(Valkey(bind=network.engine)) if told.shared == "valkey" else None
        postgres = closing.enter_context(own_server(DURABLE)) if told.ledger == "postgres" else None
        store = StoreConfig(
            ledger=postgres.url() if postgres else f"sqlite:///{folder}/t.db",
            shared=valkey.url if valkey else f"sqlite:///{folder}/shared.db",
            folder=str(folder),
        )
        gateways = [Gateway(folder, config(port, store, usd), network, n) for n in range(told.gateways)]
        for gateway in gateways:
            gateway.start()
            closing.callback(gateway.end)
        fleet = Fleet(network, gateways, valkey, postgres)
        if name == "storm":
            seen = await storm(fleet, seconds=told.seconds, rate=told.rate)
        elif name == "rush":
            seen = await rush(fleet, told.requests)
        else:
            seen = await broken_rush(fleet, told.requests, port)
        sent = await owed(port)
        await asyncio.sleep(2)
        for gateway in gateways:
            gateway.end()
        stores = open_stores(store)
        try:
            good = verdict(name, seen, usd, sent, stores.ledger)
        finally:
            stores.close()
        print(f"  broken: {dict(fleet.broken) or 'nothing'}", flush=True)
    return good


def print_logs(folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        print(log.read_text())


async def main(told: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="turnout-fleet-"))
    network = Namespaces(told.gateways) if told.namespaces else Network()
    print(f"{told.gateways} gateways, ledger {told.ledger}, shared state {told.shared}", flush=True)
    parts = [("rush", 0.05)] + [("rush with faults", 0.05)] * told.rushes
    if told.seconds:
        parts.append(("storm", told.seconds * told.rate * COST / NANO * told.share))
    good: list[bool] = []
    try:
        for n, (name, usd) in enumerate(parts):
            place = folder / str(n)
            place.mkdir()
            good.append(await part(name, usd, place, told, network))
            if told.logs:
                print_logs(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(good) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["provide"]:
        asyncio.run(provide(sys.argv[2]))
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--gateways", type=int, default=4)
        parser.add_argument("--shared", choices=("valkey", "sqlite"), default="valkey")
        parser.add_argument("--ledger", choices=("postgres", "sqlite"), default="postgres")
        parser.add_argument("--requests", type=int, default=2_000)
        parser.add_argument("--rushes", type=int, default=1, help="with faults; one without comes before")
        parser.add_argument("--seconds", type=float, default=30, help="of the storm; 0: none")
        parser.add_argument("--rate", type=int, default=40, help="requests a second of the storm")
        parser.add_argument("--share", type=float, default=0.8, help="of the storm's requests that its budget pays for")
        parser.add_argument("--namespaces", action="store_true", help="a network namespace for each; needs root")
        parser.add_argument("--logs", action="store_true", help="print what the gateways said")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        told = parser.parse_args()
        if told.namespaces and os.environ.get(INSIDE) is None:  # begin again where only our own links are
            again = ["/usr/bin/unshare", "--net", "--mount", sys.executable, *sys.argv]
            os.execve(again[0], again, {**os.environ, INSIDE: "1"})  # noqa: S606 - our own arguments
        raise SystemExit(asyncio.run(main(told)))
