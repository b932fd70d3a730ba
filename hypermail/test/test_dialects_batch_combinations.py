"""
Tests for dialect C{batch}: every packet, timer and call in every state.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hypermail.dialects.batch import Batch
from hypermail.dialects.batch import packets as p
from hypermail.errors import (
    HypermailError,
)
from hypermail.session.states import State
from hypermail.test.batches import LISTENER, STARTER, PairCase
from hypermail.test.dialects import Application, Host, World


class CompletenessTests(PairCase):
    """Every packet, every timer and every call in every state."""

    STAGES = ("connecting", "resting", "unproved", "deciding", "open", "closing", "closed")
    INPUTS = (
        lambda to: p.BatchConnect(STARTER.port, to),
        lambda to: p.BatchConnectAck(to, 5),
        lambda to: p.BatchClose(to),
        lambda to: p.BatchData(to, 1, 1, 3, b"x"),
        lambda to: p.BatchData(to, 3, 2, p.FIRST, b"x"),
        lambda to: p.BatchData(to, 2**32 - 1, 9, 0, b""),
        lambda to: p.BatchDataAck(to, 1),
        lambda to: p.BatchRepeat(to, (1, 2)),
        lambda to: p.BatchDirect(to, b""),
        lambda to: p.BatchPing(to, 3),
        lambda to: p.BatchPingAck(to, 127),
    )

    def reach(self, stage: str) -> Application:
        """A side that has come so far."""
        self.world = World()
        self.starting = self.world.host(STARTER, Batch(repeat_requests=True))
        self.listening = self.world.host(LISTENER, Batch(), listening=True)
        self.listening.make = type("Slow", (Application,), {"accepts": None if stage == "deciding" else True})
        self.ours = self.starting.start(LISTENER)
        side = self.ours
        if stage == "connecting":
            self.world.loss = 1.0
        elif stage == "unproved":
            self.world.run(0.015)
            side = self.listening.sessions[0]
        else:
            self.world.run(0.025 if stage == "resting" else 1)
            if stage in ("deciding", "closing"):
                side = self.listening.sessions[0]
        self.world.loss = 1.0
        self.theirs = self.listening.sessions[0] if self.listening.sessions else side
        if stage == "closing":
            self.send(side, bytes(2_000))
            self.do(side, "close")
        elif stage == "closed":
            self.do(side, "close")
        return side

    def test_stages(self) -> None:
        """The stages are what they are called."""
        for stage in self.STAGES:
            connection = self.reach(stage).connection
            state = {"connecting": "opening", "resting": "open", "unproved": "new", "closed": "ended"}.get(stage, stage)
            self.assertIs(connection.state, State[state.upper()], stage)
            if stage in ("connecting", "resting", "unproved"):
                self.assertEqual(connection.greeting.name.lower(), stage)

    @settings(deadline=None, max_examples=400)
    @given(
        st.sampled_from(STAGES),
        st.lists(
            st.sampled_from(INPUTS) | st.floats(0, 30) | st.sampled_from(["ping", "close", "abort", "accept", "send"]),
            min_size=1,
            max_size=12,
        ),
    )
    def test_anything(self, stage: str, steps: list[Any]) -> None:
        """Whatever comes in whatever state: nothing fails, and whatever has ended stays so and can be forgotten."""
        side = self.reach(stage)
        connection = side.connection
        host = self.starting if side is self.ours else self.listening
        peer = LISTENER if side is self.ours else STARTER
        for step in steps:
            ended = connection.ended
            if isinstance(step, float):
                self.world.run(step)
            elif isinstance(step, str):
                if step != "accept" or host is self.listening:
                    self.call(side, host, step)
            else:
                host.receive(step(next(iter(connection.ids))).encode(), peer)
            self.assertLessEqual(ended, connection.ended)
            self.assertEqual(connection.ended, connection.state is State.ENDED)
            at = connection.next_timeout()
            self.assertEqual(at is None, connection.ended)
            self.assertGreater(at or self.world.now + 1, self.world.now - 1e-6)
        self.world.run(200)
        self.assertTrue(connection.ended)
        self.assertEqual(side.names.count("SessionEnded"), 1)
        self.assertNotIn(connection, host.applications)

    def call(self, side: Application, host: Host, name: str) -> None:
        """The application does something, which it may be refused."""
        connection, now = side.connection, self.world.now
        calls = {
            "ping": lambda: connection.ping(now=now),
            "close": lambda: connection.close(now=now),
            "abort": lambda: connection.abort(1, "enough", now=now),
            "accept": lambda: connection.accept({}, now=now),
            "send": lambda: connection.send_message(bytes(3_000), now=now),
        }
        try:
            calls[name]()
        except HypermailError:
            return
        host.attend(connection)
