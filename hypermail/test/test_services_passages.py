"""
Tests for L{hypermail.services.passages}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import UsageError
from hypermail.services.addresses import Destination
from hypermail.services.passages import (
    SERVER_EXAMPLE,
    Passage,
    endpoint_of,
    parse_forwards,
    parse_listens,
    parse_udp_source,
    parse_udp_target,
)


class ParseTests(SynchronousTestCase):
    """C{[NAME=]ENDPOINT}."""

    def test_names(self) -> None:
        """A name stands before the first equals sign, when it can be one; endpoints have such signs, too."""
        for text, name, description in (
            ("tcp:127.0.0.1:22", "", "tcp:127.0.0.1:22"),
            ("ssh=tcp:127.0.0.1:22", "ssh", "tcp:127.0.0.1:22"),
            ("tcp:host=a:port=22", "", "tcp:host=a:port=22"),
            ("a.b-c_1=unix:/x=y", "a.b-c_1", "unix:/x=y"),
        ):
            (passage,) = parse_forwards([text])
            self.assertEqual(passage, Passage(name, description))
            self.assertEqual((str(passage), passage.datagrams), (text, False))

    def test_several(self) -> None:
        """Several have names that differ; one may do without."""
        texts = ["tcp:1", "a=tcp:2", "b=udp:3"]
        self.assertEqual([passage.name for passage in parse_listens(texts)], ["", "a", "b"])
        for twice in (["a=tcp:1", "a=udp:2"], ["tcp:1", "tcp:2"]):
            error = self.assertRaises(UsageError, parse_listens, twice)
            self.assertIn("a name of its own", error.text)

    def test_bad(self) -> None:
        """What can't be an endpoint is shown with what would be right."""
        for text in ("", "tcp", "tcp:", ":22", "=tcp:1", "a b=tcp:1", "127.0.0.1:22", "ssh=22"):
            error = self.assertRaises(UsageError, parse_forwards, [text])
            self.assertIn("is not [NAME=]ENDPOINT, as tcp:127.0.0.1:22 or ssh=tcp:127.0.0.1:22", error.text)
            error = self.assertRaises(UsageError, parse_listens, [text])
            self.assertIn("as tcp:2222:interface=127.0.0.1 or ssh=tcp:2222:interface=127.0.0.1", error.text)

    def test_udp(self) -> None:
        """Datagrams go to a host and a port, and are taken at a port."""
        self.assertEqual(parse_udp_target(Passage("", "udp:example.org:53")), Destination("example.org", 53))
        self.assertEqual(parse_udp_target(Passage("", r"udp:\:\:1:53")), Destination("::1", 53))
        self.assertEqual(parse_udp_source(Passage("", r"udp:53:interface=\:\:1")), (53, "::1"))
        for text in ("udp:53", "udp:a:b", "udp::53", "udp:a:0", "udp:a b:53", "udp:a:53:c"):
            error = self.assertRaises(UsageError, parse_forwards, [f"x={text}"])
            self.assertIn(f"x={text}: ", error.text)
        for text in ("udp:x", "udp:1:interface=a", "udp:1:2"):
            error = self.assertRaises(UsageError, parse_listens, [text])
            self.assertIn(f"{text}: ", error.text)

    def test_endpoints(self) -> None:
        """What an endpoint's parser says comes with the option and what would be right, without names of its code."""

        def call(description: str) -> object:
            kinds: dict[str, Callable[..., object]] = {"tcp": lambda host, port: port}
            return kinds[description.partition(":")[0]](*description.split(":")[1:])

        passage = Passage("x", "tcp:1")
        error = self.assertRaises(UsageError, endpoint_of, passage, "--listen", call, "to listen on", SERVER_EXAMPLE)
        self.assertIn("--listen x=tcp:1: missing 1 required positional argument: 'port'; it takes", error.text)
        self.assertIn("it takes an endpoint to listen on, as tcp:2222:interface=127.0.0.1", error.text)
        self.assertEqual(endpoint_of(Passage("", "tcp:a:1"), "--forward", call, "", ""), "1")
