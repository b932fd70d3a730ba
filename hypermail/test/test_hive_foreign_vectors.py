"""
Tests for L{hypermail.test.foreign_wire}, L{foreign_cell<hypermail.test.foreign_cell>} and
L{foreign_queen<hypermail.test.foreign_queen>}: they write what the shared vectors say, and understand each other.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.foreign_cell import Exchange, ForeignCell
from hypermail.test.foreign_wire import Kind, frame
from hypermail.test.peers import CellCase, in_thread, trusting

VECTORS: dict[str, Any] = json.loads((files("hypermail.test") / "vectors" / "hive.json").read_text("utf-8"))
MAIN = ("@", "/")


def payload_of(vector: dict[str, Any]) -> Any:
    """What a vector's frame carries."""
    return vector["json"] if "json" in vector else bytes.fromhex(vector.get("data", ""))


class WritingTests(SynchronousTestCase):
    """Frames as bytes."""

    def test_vectors(self) -> None:
        """Each frame is what the vectors say, byte by byte."""
        for vector in VECTORS["frames"]:
            self.assertEqual(frame(vector["kind"], payload_of(vector)).hex(), vector["hex"], vector["name"])

    def test_kinds(self) -> None:
        """The vectors have most kinds, and none that these ends don't know."""
        self.assertEqual(
            set(Kind) - {vector["kind"] for vector in VECTORS["frames"]},
            {Kind.ACCEPT, Kind.REQ_HEAD},
        )


class TogetherTests(CellCase):
    """A foreign cell and a foreign queen."""

    @in_thread
    def test_exchange(self) -> None:
        """They understand each other, and what they write in an exchange is what the vectors say of its content."""

        def respond(exchange: Exchange) -> None:
            self.assertEqual(exchange.body(1_048_576), b"hello")
            exchange.respond(200, {"content-type": ["text/plain"]})
            exchange.write(b"hi\n")

        with self.foreign_queen() as queen, ForeignCell(queen.address, trusting(), respond) as cell:
            leash = queen.leash(MAIN)
            answered = queen.request(leash, "POST", body=b"hello")
            self.assertEqual((answered.status, answered.body, answered.whole), (200, b"hi\n", True))
            cell.unmount()
            queen.leash()
            [band] = cell.bands
            written = {frame(*one).hex() for one in (*queen.frames, *cell.leash.came, *band.came)}
            self.assertEqual((cell.panics, queen.violations), ([], []))
        expected = {vector["hex"] for vector in VECTORS["frames"] if vector["name"] != "IAm, band"}
        self.assertEqual(expected - written, set())
