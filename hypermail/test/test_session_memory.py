"""
Tests for what a session holds while nothing happens: a listener has thousands that are idle.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Iterator
from enum import Enum
from types import MethodType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.options import Options
from hypermail.test.wired import Wire

#: What is shared by sessions, or is no session's own.
_NOT_OWN = (type, MethodType, Enum, Options)


def held(root: object) -> Iterator[Any]:
    """The objects of hypermail that an object consists of, and their containers."""
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        one = waiting.pop()
        ours = type(one).__module__.startswith("hypermail.")
        if id(one) in seen or isinstance(one, _NOT_OWN) or not (ours or type(one) in (dict, list, deque, tuple)):
            continue
        seen.add(id(one))
        yield one
        waiting += gc.get_referents(one)


def spare(container: Any) -> bool:
    """Whether a container is empty, and yet has room that it once needed."""
    return not container and sys.getsizeof(container) > sys.getsizeof(type(container)())


class IdleTests(SynchronousTestCase):
    """An idle session is small, whatever it has carried."""

    def _check(self, wire: Wire) -> None:
        for connection in (wire.starter, wire.listener):
            found = list(held(connection._session))
            self.assertGreater(len(found), 10)
            self.assertEqual([type(one) for one in found if hasattr(one, "__dict__")], [])
            self.assertEqual([one for one in found if isinstance(one, deque)], [])
            self.assertEqual([one for one in found if isinstance(one, (dict, list)) and spare(one)], [])

    def test_new(self) -> None:
        """A session that has carried nothing has no queues, and no instance dictionaries."""
        self._check(Wire().open())

    def test_used(self) -> None:
        """What bursts of messages, lost ones among them, and streams have needed is given back when they are over."""
        wire = Wire().open()
        wire.lose = lambda role, datagram: wire.random.random() < 0.1
        for number in range(500):
            wire.starter.send_message(bytes(number), now=wire.now)
            wire.starter.send_message(bytes(10 * number), lane=1, now=wire.now)
            wire.listener.send_message(bytes(number), now=wire.now)
        for _ in range(20):
            stream = wire.starter.open_stream(now=wire.now)
            stream.write(bytes(50_000))
            stream.finish()
        wire.until(lambda: len(wire.here.settled) == 1_000 and len(wire.there.settled) == 500)
        wire.until(lambda: len(wire.here.ends) == len(wire.there.ends) == 20)
        wire.run(2.0)
        self._check(wire)
