"""
A picture of a queen's status page, with traffic: she, some cells and their clients all run here, and a headless
Chromium looks at her. Needs Chromium with its driver, and the extra C{dev}.

    python -m benchmarks.hive_status docs/guide/hive-status.png
    python -m benchmarks.hive_status --width 400 --height 1800 --dark narrow.png
"""

from __future__ import annotations

import argparse
import random
import sys
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from math import sin
from os import urandom
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.ssl import Certificate
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

from hypermail.hive.cell.application import answer
from hypermail.hive.cell.cell import Cell
from hypermail.hive.cell.queens import Queen
from hypermail.hive.directives import Directives
from hypermail.hive.exchanges import Exchange
from hypermail.hive.installation import HLHV, HTTPS, HYPERMAIL, STATUS
from hypermail.hive.keys import argon2id
from hypermail.hive.queen import QueenService
from hypermail.internet.security import StarterTLS
from hypermail.security.identity import Identity
from hypermail.test.browsers import browsing, draw_as, until

HERE = "127.0.0.1"
KEY = "a key of cells"
#: Host, path, and how many requests of a hundred are for it.
TARGETS = (
    ("shop.example.org", "/", 22),
    ("shop.example.org", "/articles/{}", 30),
    ("shop.example.org", "/api/cart/{}?fields=price,stock", 26),
    ("www.example.org", "/", 8),
    ("www.example.org", "/2026/11/a-queen-and-her-cells", 10),
    ("wiki.example.org", "/wp-login.php", 1),
    ("shop.example.org", "/api/export", 3),
)
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15",
    "curl/8.14.1",
)


class Shop:
    """An application that takes its time, and fails now and then."""

    def __init__(self, reactor: Any, seconds: float, failing: float = 0.0) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._failing = failing

    async def __call__(self, exchange: Exchange) -> None:
        """Answer a request."""
        long = 8.0 if exchange.head.path.endswith("export") else 1.0
        await deferLater(self._reactor, self._seconds * long * random.lognormvariate(0.0, 0.6))
        if exchange.over:
            return
        chance = random.random()
        if chance < self._failing:
            answer(exchange, 500, "something is wrong")
        elif chance < 0.06:
            answer(exchange, 404)
        else:
            answer(exchange, 200, "x" * int(random.lognormvariate(8.0, 1.0)))


async def ask(agent: Agent, port: int) -> None:
    """One request."""
    host, path, _ = random.choices(TARGETS, [weight for _, _, weight in TARGETS])[0]
    headers = {
        "host": [host],
        "user-agent": [random.choice(AGENTS)],
        "x-forwarded-for": [f"{random.choice(('198.51.100', '203.0.113'))}.{random.randrange(1, 255)}"],
    }
    url = f"https://localhost:{port}{path.format(random.randrange(1000, 9999))}"
    await readBody(await agent.request(b"GET", url.encode(), Headers(headers)))


class Traffic:
    """
    Requests, at random, more and fewer of them in waves.

    @param rate: how many a second, on average.
    """

    def __init__(self, reactor: Any, agent: Agent, port: int, rate: float) -> None:
        self._reactor = reactor
        self._agent = agent
        self._port = port
        self._rate = rate
        self._next: Any = None

    def another(self) -> None:
        """Ask, and again later."""
        Deferred.fromCoroutine(ask(self._agent, self._port)).addErrback(lambda _: None)
        now = self._reactor.seconds()
        wave = 1.0 + 0.35 * sin(now / 9.0) + 0.15 * sin(now / 2.3)
        self._next = self._reactor.callLater(random.expovariate(self._rate * wave), self.another)

    def stop(self) -> None:
        """Ask no more."""
        self._next.cancel()


def look(url: str, options: argparse.Namespace) -> None:
    """Take the picture."""
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        browsing(Path(profile), "--hide-scrollbars") as driver,
    ):
        draw_as(driver, options.width, options.height, options.scale, dark=options.dark)
        driver.get(url)
        until(driver, lambda driver: driver.find_elements("css selector", "#mounts tbody tr"))
        if options.full:
            height = driver.execute_script("return document.documentElement.scrollHeight")
            draw_as(driver, options.width, height, options.scale, dark=options.dark)
            until(driver, lambda driver: driver.execute_script("return innerHeight") == height)
        driver.save_screenshot(options.picture)


def begin(reactor: Any, here: Path, identity: Identity) -> QueenService:
    """A queen."""
    certificate, key, both = here / "cert.pem", here / "key.pem", here / "identity.pem"
    private = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = identity.certificate.public_bytes(Encoding.PEM)
    for path, content in ((certificate, public), (key, private), (both, private + public)):
        path.touch(mode=0o600)
        path.write_bytes(content)
    directives = Directives(
        certificate_path=str(certificate),
        key_path=str(key),
        identity_path=str(both),
        key_hash=argon2id(KEY, urandom(16)),
        port_https=0,
        port_hlhv=0,
        port_hypermail=0,
        status_port=0,
        bind=HERE,
        login_timeout=30.0,
        trusted_proxies=(ip_network("127.0.0.0/8"),),
    )
    queen = QueenService(reactor, lambda: directives, urandom)
    queen.startService()
    return queen


async def show(reactor: Any, here: Path, options: argparse.Namespace) -> None:
    """All of it."""
    identity = Identity.self_signed("localhost", now=datetime.now(UTC))
    queen = begin(reactor, here, identity)
    assert queen.installation is not None
    ports = queen.installation.ports
    tls = Queen.overTLS("localhost", ports.number(HLHV), pins=[identity.pin])
    hypermail = Queen.overHypermail(HERE, ports.number(HYPERMAIL), security=StarterTLS(pin=identity.pin))
    shop = ("shop.example.org/", "shop.example.org/api/")
    cells = [
        Cell(tls, KEY, shop, Shop(reactor, 0.02), reactor=reactor),
        Cell(hypermail, KEY, shop, Shop(reactor, 0.03, 0.01), reactor=reactor),
        Cell(hypermail, KEY, "www.example.org/", Shop(reactor, 0.006), reactor=reactor),
    ]
    for cell in cells:
        cell.startService()
    await DeferredList([cell.whenReady() for cell in cells])
    trusted = BrowserLikePolicyForHTTPS(Certificate.loadPEM(identity.certificate.public_bytes(Encoding.PEM)))
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = 100
    agent = Agent(reactor, trusted, pool=pool)

    traffic = Traffic(reactor, agent, ports.number(HTTPS), options.rate)
    traffic.another()
    await deferLater(reactor, options.seconds)
    await deferToThread(look, f"http://localhost:{ports.number(STATUS)}/", options)
    traffic.stop()
    await pool.closeCachedConnections()
    await DeferredList([cell.stopService() for cell in cells])
    await queen.stopService()


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    """Take a picture."""
    parser = argparse.ArgumentParser(prog="benchmarks.hive_status", description="A picture of a queen's status page.")
    parser.add_argument("picture", help="the file, PNG")
    parser.add_argument("--seconds", type=float, default=130.0, help="of traffic before [%(default)s]")
    parser.add_argument("--rate", type=float, default=60.0, help="requests per second, about [%(default)s]")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1000)
    parser.add_argument("--scale", type=float, default=1.0, help="pixels for each of those")
    parser.add_argument("--full", action="store_true", help="as high as the page is")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args(arguments)
    return Deferred.fromCoroutine(taken(reactor, options))


async def taken(reactor: Any, options: argparse.Namespace) -> None:
    """All of it, with files of its own."""
    with TemporaryDirectory() as here:
        await show(reactor, Path(here), options)


if __name__ == "__main__":
    react(partial(main), sys.argv[1:])
