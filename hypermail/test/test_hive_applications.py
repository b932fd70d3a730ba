"""
Tests of real applications behind a cell, driven by Chromium: C{shelf.py}, in Flask, and C{chat.py}, in ASGI.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from hashlib import sha256
from time import monotonic, sleep
from types import ModuleType
from typing import Any, TypeVar
from unittest import SkipTest

from twisted.internet.threads import deferToThread

from hypermail.hive.cell.application import Answering
from hypermail.hive.cell.asgi import AsgiApplication
from hypermail.hive.cell.wsgi import WsgiApplication
from hypermail.hive.installation import HTTPS
from hypermail.test.browsers import PATIENCE, browser, complaints
from hypermail.test.queens import QueenCase
from hypermail.test.test_testing_docs import GUIDE

EXAMPLES = GUIDE.parent.parent / "examples"
T = TypeVar("T")


def example(name: str) -> ModuleType:
    """One of the documentation's examples, as a module of its own."""
    path = EXAMPLES / f"{name}.py"
    if not path.exists():
        raise SkipTest("the documentation is not installed")
    specification = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def until(find: Callable[[], T]) -> T:
    """Look until something is found; in a thread."""
    end = monotonic() + PATIENCE
    while True:
        found = find()
        if found:
            return found
        if monotonic() > end:
            raise AssertionError("it does not come")
        sleep(0.05)


class ApplicationCase(QueenCase):
    """A browser before a queen."""

    timeout = 120

    async def drive(self, application: Answering, hypermail: bool, work: Callable[[Any, str], T]) -> T:
        """
        Have a browser work with an application.

        @param hypermail: what the cell comes over; else TLS.
        @param work: given the browser and the address of the application; called in a thread.
        """
        identity = self.here / "identity.pem"
        identity.touch(mode=0o600)
        identity.write_bytes(self.keyPath.read_bytes() + self.certificatePath.read_bytes())
        self.begin(port_hypermail=0, identity_path=str(identity))
        cell = await self.cell(application, "@/app/", hypermail=hypermail)
        address = f"https://localhost:{self.installation.ports.number(HTTPS)}/app/"

        def driving() -> T:
            chromium = browser(self.here / "profile")
            try:
                found = work(chromium, address)
                self.assertEqual(complaints(chromium), [])
            finally:
                chromium.quit()
            return found

        try:
            return await deferToThread(driving)
        finally:
            await cell.stopService()

    def find(self, chromium: Any, selector: str) -> list[Any]:
        """Elements of a page."""
        found: list[Any] = chromium.find_elements("css selector", selector)
        return found


class ShelfTests(ApplicationCase):
    """A site in Flask, with uploads."""

    async def shelf(self, hypermail: bool) -> None:
        """Upload a file, see it on the page, and get it back."""
        data = bytes(range(256)) * 8_192  # 2 MiB
        upload = self.here / "numbers.bin"
        upload.write_bytes(data)
        module = example("shelf")

        def work(chromium: Any, address: str) -> list[int]:
            chromium.get(address)
            self.find(chromium, "input")[0].send_keys(str(upload.absolute()))
            self.find(chromium, "button")[0].click()
            [item] = until(lambda: self.find(chromium, "li"))
            self.assertEqual(item.text, f"numbers.bin {len(data)} {sha256(data).hexdigest()}")
            self.assertEqual(chromium.current_url, address)
            downloaded: list[int] = chromium.execute_async_script(
                "const done = arguments[arguments.length - 1];"
                "fetch(arguments[0]).then(r => r.arrayBuffer()).then(b => crypto.subtle.digest('SHA-256', b))"
                ".then(d => done([...new Uint8Array(d)]));",
                self.find(chromium, "a")[0].get_attribute("href"),
            )
            return downloaded

        self.assertEqual(bytes(await self.drive(WsgiApplication(module.app), hypermail, work)), sha256(data).digest())

    async def test_tls(self) -> None:
        """Through a cell that has come over TLS."""
        await self.shelf(False)

    async def test_hypermail(self) -> None:
        """... and over hypermail."""
        await self.shelf(True)


class ChatTests(ApplicationCase):
    """A chat in ASGI, with a WebSocket and server-sent events."""

    async def chat(self, hypermail: bool) -> None:
        """Two windows hear each other, by both ways."""
        module = example("chat")

        def lines(chromium: Any) -> list[str]:
            return [item.text for item in self.find(chromium, "li")]

        def work(chromium: Any, address: str) -> None:
            chromium.get(address)
            first = chromium.current_window_handle
            chromium.switch_to.new_window("tab")
            chromium.get(address)
            until(lambda: len(module.listeners) == 4)
            for window, text in ((chromium.current_window_handle, "hello"), (first, "<b>grüß</b> dich")):
                chromium.switch_to.window(window)
                self.find(chromium, "input")[0].send_keys(text + "\n")
            for window in chromium.window_handles:
                chromium.switch_to.window(window)
                until(lambda: len(lines(chromium)) == 4)
                self.assertEqual(lines(chromium), ["hello", "<b>grüß</b> dich"] * 2)
            chromium.close()
            until(lambda: len(module.listeners) == 2)
            chromium.switch_to.window(first)

        await self.drive(AsgiApplication(module.app), hypermail, work)
        self.assertEqual(module.listeners, set())

    async def test_tls(self) -> None:
        """Through a cell that has come over TLS."""
        await self.chat(False)

    async def test_hypermail(self) -> None:
        """... and over hypermail."""
        await self.chat(True)
