"""
The pages on dialects: layouts, byte examples, options and causes are those of the code.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import MISSING, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import hypermail.dialects
from hypermail.dialects.batch import packets as batch
from hypermail.dialects.batch.arrivals import Receipt
from hypermail.dialects.batch.dialect import Batch
from hypermail.dialects.digest import packets as digest
from hypermail.dialects.digest.dialect import Digest
from hypermail.test.test_packaging import checkout

#: What a L{Receipt} that is counted as dropped is called; the others are answered, or have a call of their own.
RECEIPTS = {each.name.lower() for each in (Receipt.CROWDED, Receipt.SCATTERED, Receipt.CONTRADICTED)}
#: What counts a datagram as dropped, by the name of its method.
COUNTING = {"_drop", "dropped", "_reject", "_drop_datagram", "_count_drop", "drop"}

#: The heading of a packet of dialect batch, and what follows.
HEADING = re.compile(r"[\w ]+: type (\d+), (\d+) bytes( and more)?\n-+\n(.*)", re.DOTALL)

#: What there is of each packet of dialect batch when its last field is as short as can be.
SHORTEST: dict[batch.PacketType, batch.BatchPacket] = {
    batch.PacketType.CONNECT: batch.BatchConnect(1, 1),
    batch.PacketType.CONNECT_ACK: batch.BatchConnectAck(1, 1),
    batch.PacketType.CLOSE: batch.BatchClose(1),
    batch.PacketType.DATA: batch.BatchData(1, 1, 1, 3, b""),
    batch.PacketType.DATA_ACK: batch.BatchDataAck(1, 1),
    batch.PacketType.REPEAT: batch.BatchRepeat(1, ()),
    batch.PacketType.DIRECT: batch.BatchDirect(1, b""),
    batch.PacketType.PING: batch.BatchPing(1, 1),
    batch.PacketType.PING_ACK: batch.BatchPingAck(1, 1),
}


def page(name: str) -> str:
    """The text of one page."""
    return (checkout() / "docs" / "protocol" / "dialects" / f"{name}.rst").read_text(encoding="utf-8")


def vectors(name: str) -> set[str]:
    """The packets that the original programs have written, and others of their kind, as hex."""
    text = (files("hypermail.test") / "vectors" / f"{name}.json").read_text("utf-8")
    return {each["hex"] for each in json.loads(text)["packets"]}


def layout(text: str) -> list[tuple[int, int | None]]:
    """The fields of the first table of a text: offset, and size, which the last may not have."""
    rows = re.findall(r"^(\d+) +(\d+)? {2,}\S", text, re.MULTILINE)
    return [(int(offset), int(size) if size else None) for offset, size in rows]


def blocks(text: str) -> list[list[str]]:
    """The literal blocks of a text that are of hexadecimal digits alone: the fields of each."""
    found = [block.split() for block in re.findall(r"::\n\n((?: {4}\S.*\n?)+)", text)]
    return [block for block in found if all(re.fullmatch(r"(?:[0-9a-f]{2})+", part) for part in block)]


def table(text: str) -> list[list[str]]:
    """The cells of the rows of the first simple table of a text; of the lines of a row the first alone."""
    borders = list(re.finditer(r"^=+(?: +=+)+$", text, re.MULTILINE))[:3]
    columns = [match.span() for match in re.finditer("=+", borders[0].group())]
    body = text[borders[1].end() : borders[2].start()].strip("\n")
    rows = [[line[start:stop].strip() for start, stop in columns] for line in body.split("\n")]
    return [row for row in rows if row[0]]


def causes_in(source: str) -> set[str]:
    """The words by which a module counts datagrams as dropped."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in COUNTING:
            found |= values_of(node.args[0]) if node.args else set()
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in COUNTING:
            found |= values_of(node.args[0])
    return found


def values_of(node: ast.expr) -> set[str]:
    """The words that an argument may be."""
    if isinstance(node, ast.IfExp):
        return values_of(node.body) | values_of(node.orelse)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if ast.unparse(node) == "receipt.name.lower()":
        return RECEIPTS
    assert isinstance(node, ast.Name), ast.dump(node)  # handed on, from a call that is looked at as well, or no cause
    return set()


class LayoutTests(SynchronousTestCase):
    """Layouts, and the bytes that show them."""

    def test_batch(self) -> None:
        """Each packet of dialect batch has a table whose fields add up to its size, and an example of its kind."""
        packets = page("batch").split("\nSizes\n")[0]
        found = [HEADING.match(text) for text in re.split(r"\n(?=[^\n]+\n-+\n)", packets)[1:]]
        described = [match.groups() for match in found if match is not None]
        self.assertEqual([int(number) for number, *_ in described], list(batch.PacketType))
        for number, size, more, text in described:
            packet = SHORTEST[batch.PacketType(int(number))]
            self.assertEqual(len(packet.encode()), int(size), number)
            rows = layout(text)
            self.assertEqual(self.length(rows), int(size), number)
            self.assertEqual(rows[-1][1] is None, bool(more), number)
            ((*parts,),) = blocks(text)
            self.matches(rows, parts)
            example = "".join(parts)
            read = batch.decode(bytes.fromhex(example))
            assert read is not None
            self.assertIs(type(read), type(packet))
            self.assertEqual(read.encode().hex(), example)
            self.assertIn(example, vectors("batch"))

    def test_batch_sizes(self) -> None:
        """The largest packets that are sent are as large as the page says."""
        text = " ".join(page("batch").split())
        data, direct = batch.LARGEST, len(batch.BatchDirect(1, bytes(batch.DIRECT_PAYLOAD)).encode())
        self.assertIn(
            f"{batch.DATA_PAYLOAD} bytes of payload (a datagram of {data}), "
            f"a Direct packet {batch.DIRECT_PAYLOAD} ({direct})",
            text,
        )

    def test_digest(self) -> None:
        """The header of dialect digest has the size of its fields, and each example is a packet that has them."""
        text = page("digest").split(".. _digest-header:")[1]
        header, examples = text.split("\nTypes\n", 1)
        rows = layout(header)
        self.assertIn(f"Header: {digest.HEADER.size} bytes", header)
        self.assertEqual(self.length(rows), digest.HEADER.size)
        found = blocks(examples)
        self.assertGreaterEqual(len(found), 6)
        for parts in found:
            self.matches([*rows, (digest.HEADER.size, None)], parts)
            example = "".join(parts)
            self.assertIn(example, vectors("digest"))
            self.assertIsNotNone(digest.parse(bytes.fromhex(example)))

    def test_digest_types(self) -> None:
        """The numbers of the types are those of the code."""
        rows = table(page("digest").split("\nTypes\n-----\n")[1])
        self.assertEqual({row[1]: int(row[0]) for row in rows}, {each.name: each.value for each in digest.PacketType})
        stamped = {row[1] for row in rows if row[2] == "a timestamp"}
        self.assertEqual(stamped, {each.name for each in digest.STAMPED})

    def length(self, rows: list[tuple[int, int | None]]) -> int:
        """The bytes of the fields of a table, which follow each other without a gap."""
        at = 0
        for offset, size in rows:
            self.assertEqual(offset, at)
            at += size or 0
        return at

    def matches(self, rows: list[tuple[int, int | None]], parts: list[str]) -> None:
        """An example is written in the fields of its table."""
        self.assertEqual(len(rows), len(parts))
        for (_, size), part in zip(rows, parts, strict=True):
            if size is not None:
                self.assertEqual(len(part), 2 * size, parts)


class OptionsTests(SynchronousTestCase):
    """The table of all options."""

    def test_defaults(self) -> None:
        """It has each option of each dialect with its default, and no other."""
        rows = table(page("index").split("\nOptions\n=======\n")[1])
        for column, dialect in ((1, Batch), (2, Digest)):
            said = {row[0]: row[column] for row in rows if row[column]}
            self.assertEqual(said, {each.name: self.written(each) for each in fields(dialect)})

    def written(self, option: Any) -> str:
        """A default as the table has it."""
        default = option.default
        self.assertIsNot(default, MISSING)
        if default is None:
            return "none"
        if isinstance(default, bool):
            return "yes" if default else "no"
        return f"{default:,}" if isinstance(default, int) else f"{default:g}"


class CausesTests(SynchronousTestCase):
    """What is dropped, and why."""

    def test_all(self) -> None:
        """The page tells of each cause by which the code drops a datagram, and of no other, with its dialect."""
        root = Path(hypermail.dialects.__file__).parent
        known: dict[str, set[str]] = {}
        for name in ("batch", "digest"):
            for module in (root / name).glob("*.py"):
                for cause in causes_in(module.read_text(encoding="utf-8")):
                    known.setdefault(f"``dropped_{cause}``", set()).add(f"``{name}``")
        for module in root.glob("*.py"):
            self.assertEqual(causes_in(module.read_text(encoding="utf-8")), set())
        self.assertGreater(len(known), 20)
        rows = table(page("index").split(".. _dialects-dropped:")[1])
        said = {row[0]: {"``batch``", "``digest``"} if row[1] == "both" else {row[1]} for row in rows}
        self.assertEqual(len(said), len(rows))
        self.assertEqual(said, known)
