"""
Tests for the page of L{hypermail.hive.status_page}, in a browser: Chromium looks at a queen who serves.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread

from hypermail.hive.cell.application import answer
from hypermail.hive.exchanges import Exchange
from hypermail.hive.installation import STATUS
from hypermail.test.browsers import browsers, browsing, complaints, draw_as, until
from hypermail.test.queens import QueenCase

HOSTILE = "<script>document.title='pwned'</script><img src=x onerror=alert(1)>"


def text(driver: Any, selector: str) -> str:
    """What is read there; empty when there is nothing."""
    return str(driver.execute_script("return (document.querySelector(arguments[0]) || {}).textContent || ''", selector))


def row(driver: Any, table: str, index: int = 0) -> dict[str, str]:
    """A row of a table, by the titles of its columns."""
    script = (
        "const r = document.querySelectorAll(arguments[0])[arguments[1]];"
        "return r ? Object.fromEntries([...r.cells].map((c) => [c.dataset.label, c.textContent])) : {}"
    )
    found: dict[str, str] = driver.execute_script(script, f"#{table} tbody tr", index)
    return found


class BrowserTests(QueenCase):
    """What a person sees."""

    timeout = 120

    async def serve(self) -> str:
        """Begin a queen with a cell. @return: where her status is."""
        self.begin(status_port=0)
        await self.cell(self.application, "@/app/", "@/")
        return f"http://localhost:{self.installation.ports.number(STATUS)}/"

    def application(self, exchange: Exchange) -> None:
        """Greets, or fails."""
        answer(exchange, 500 if exchange.head.path.endswith("bad") else 200, "hello")

    def keep_asking(self, target: str) -> None:
        """Somebody asks, again and again."""

        def ask() -> Deferred[bytes]:
            return Deferred.fromCoroutine(self.get(target))

        asking = LoopingCall(ask)
        done = asking.start(0.05)
        done.addErrback(lambda _: None)

        def stop() -> Deferred[Any]:
            asking.stop()
            return done

        self.addCleanup(stop)

    async def test_moves(self) -> None:
        """It shows mounts, the cell and the last requests, and its numbers move, without a word in the console."""
        url = await self.serve()
        self.keep_asking("/app/x")

        def look() -> None:
            with browsing(self.here / "profile") as driver:
                draw_as(driver, 1280, 1000)
                driver.get(url)
                until(driver, lambda driver: row(driver, "mounts", 1).get("req/s", "0") != "0")
                before, cell, last = row(driver, "mounts", 1), row(driver, "cells"), row(driver, "requests")
                self.assertEqual((before["mount"], row(driver, "mounts")["mount"]), ("@/app/", "@/"))
                self.assertIn(" ms", before["p50"])
                self.assertEqual((cell["mounts"], cell["over"], cell["state"]), ("@/app/, @/", "TLS", "up"))
                self.assertRegex(cell["bands"], r"\A\d+ busy, \d+ idle\Z")
                self.assertEqual((last["status"], last["method"], last["target"]), ("200", "GET", "/app/x"))
                self.assertEqual(last["cell"], cell["cell"])
                seen = int(before["requests"].replace(",", ""))
                until(driver, lambda driver: int(row(driver, "mounts", 1)["requests"].replace(",", "")) > seen)
                until(driver, lambda driver: text(driver, "#state") == "live")
                until(driver, lambda driver: "req/s" in driver.title and not driver.title.startswith("0 "))
                self.assertTrue(driver.execute_script("return document.querySelector('.requests-line') !== null"))
                self.assertTrue(driver.execute_script("return document.querySelector('.p99-line') !== null"))
                self.assertEqual(complaints(driver), [])

        await deferToThread(look)

    async def test_hostile(self) -> None:
        """What clients send is text, whatever it looks like; and nothing of it runs."""
        url = await self.serve()
        client = await self.connect()
        target = "/app/" + HOSTILE.replace(" ", "/") + "/bad"
        self.say(client, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {HOSTILE}\r\n\r\n")
        await client.until(b"hello")

        def look() -> None:
            with browsing(self.here / "profile") as driver:
                driver.get(url)
                until(driver, lambda driver: row(driver, "errors"))
                for table in ("requests", "errors"):
                    found = row(driver, table)
                    self.assertEqual((found["target"], found["agent"], found["status"]), (target, HOSTILE, "500"))
                self.assertEqual(driver.execute_script("return document.querySelectorAll('img').length"), 0)
                self.assertEqual(driver.execute_script("return document.querySelectorAll('script').length"), 1)
                self.assertNotEqual(driver.title, "pwned")
                self.assertEqual(complaints(driver), [])

        await deferToThread(look)

    async def test_narrow(self) -> None:
        """On a phone nothing is wider than that, in the light and in the dark."""
        url = await self.serve()
        await self.get("/" + "x" * 150)
        await self.get("/app/" + "bad")

        def look() -> None:
            with browsing(self.here / "profile") as driver:
                for dark in (False, True):
                    draw_as(driver, 360, 800, dark=dark)
                    driver.get(url)
                    until(driver, lambda driver: row(driver, "errors"))
                    widths = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
                    needed, there = driver.execute_script(widths)
                    self.assertLessEqual((needed, there), (there, 360))
                    ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
                    lightness = sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(", "))) / 3
                    self.assertEqual(lightness < 128, dark)

        await deferToThread(look)

    async def test_lost(self) -> None:
        """When the queen goes it says so; when she is back it goes on."""
        browsers()  # or nobody would ever reach a step
        url = await self.serve()
        number = self.installation.ports.number(STATUS)
        steps = {"gone": Deferred[None](), "back": Deferred[None]()}

        def reached(step: str) -> None:
            self.reactor.callFromThread(steps[step].callback, None)

        def look() -> None:
            with browsing(self.here / "profile") as driver:
                driver.get(url)
                until(driver, lambda driver: text(driver, "#state") == "live")
                reached("gone")
                until(driver, lambda driver: text(driver, "#state") == "connection lost, reconnecting")
                self.assertEqual(row(driver, "mounts", 1)["mount"], "@/app/")  # what was known is still there
                reached("back")
                until(driver, lambda driver: text(driver, "#state") == "live")
                self.assertEqual(row(driver, "mounts"), {})

        looking = deferToThread(look)
        await steps["gone"]
        await self.queen.stopService()
        await steps["back"]
        self.begin(status_port=number)
        await looking

    async def test_pause(self) -> None:
        """It can be held, to read it."""
        url = await self.serve()
        self.keep_asking("/app/x")

        def look() -> None:
            with browsing(self.here / "profile") as driver:
                driver.get(url)
                until(driver, lambda driver: row(driver, "requests"))
                driver.execute_script("document.querySelector('#pause').click()")
                until(driver, lambda driver: text(driver, "#state") == "paused")
                held = row(driver, "mounts", 1)
                count = self.installation.router.choice._count
                until(driver, lambda driver: self.installation.router.choice._count > count + 30)
                self.assertEqual(row(driver, "mounts", 1), held)
                driver.execute_script("document.querySelector('#pause').click()")
                until(driver, lambda driver: row(driver, "mounts", 1) != held)

        await deferToThread(look)
