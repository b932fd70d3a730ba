"""
Tests for every state table of the package, wherever it is.
"""

from __future__ import annotations

import importlib
import pkgutil
from enum import Enum
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import hypermail
from hypermail.dialects.batch.states import GREETING, Greeting, GreetingInput
from hypermail.dialects.digest.states import CLIENT, ClientInput, ClientPhase
from hypermail.errors import IllegalTransition
from hypermail.hive.states import ANSWERING, ASKING, Answering, AnsweringInput, Asking, AskingInput
from hypermail.link.states import ECN, LINK, SEARCH, EcnInput, EcnState, Search, SearchInput
from hypermail.link.states import Input as LinkInput
from hypermail.link.states import State as Link
from hypermail.machine import Table
from hypermail.messages.states import OUTGOING
from hypermail.messages.states import Input as MessageInput
from hypermail.messages.states import State as Message
from hypermail.services.processes.states import LIFE, Life, LifeInput
from hypermail.session.states import CARRIAGE, SESSION, Carriage, CarriageInput
from hypermail.session.states import Input as SessionInput
from hypermail.session.states import State as Session
from hypermail.streams.states import (
    OPENING,
    RECEIVING,
    SENDING,
    Opening,
    OpeningInput,
    Receiving,
    ReceivingInput,
    Sending,
    SendingInput,
)

#: Every table with the states that its machines begin in, and those that they never leave again.
TABLES: list[tuple[Table[Any, Any], type[Enum], type[Enum], set[Enum], set[Enum]]] = [
    (LINK, Link, LinkInput, {Link.OPENING}, {Link.ENDED}),
    (ECN, EcnState, EcnInput, {EcnState.TESTING}, {EcnState.FAILED}),
    (SEARCH, Search, SearchInput, {Search.BASE}, set()),
    (SESSION, Session, SessionInput, {Session.NEW}, {Session.ENDED}),
    (CARRIAGE, Carriage, CarriageInput, {Carriage.LINKED}, set()),
    (OUTGOING, Message, MessageInput, {Message.QUEUED}, {Message.SETTLED}),
    (OPENING, Opening, OpeningInput, {Opening.WAITING, Opening.UNSEEN}, {Opening.OVER}),
    (SENDING, Sending, SendingInput, {Sending.WRITING}, {Sending.FLUSHED, Sending.CLEARED}),
    (RECEIVING, Receiving, ReceivingInput, {Receiving.READING}, {Receiving.DELIVERED, Receiving.CLEARED}),
    (ASKING, Asking, AskingInput, {Asking.IDLE}, {Asking.OVER}),
    (CLIENT, ClientPhase, ClientInput, {ClientPhase.GREETING}, {ClientPhase.OVER}),
    (ANSWERING, Answering, AnsweringInput, {Answering.IDLE}, set()),
    (LIFE, Life, LifeInput, {Life.WAITING}, {Life.OVER}),
    (GREETING, Greeting, GreetingInput, {Greeting.CONNECTING, Greeting.UNPROVED}, {Greeting.OVER}),
]


def reachable(table: Table[Any, Any], begin: set[Enum]) -> set[Enum]:
    """All states that can follow, those of the beginning included."""
    found = set(begin)
    while more := {after for state, _, after in table if state in found} - found:
        found |= more
    return found


def left(table: Table[Any, Any]) -> set[Enum]:
    """States that can be left for another."""
    return {state for state, _, after in table if after is not state}


class TablesTests(SynchronousTestCase):
    """What is true of all tables."""

    def test_all_known(self) -> None:
        """No table of the package escapes these tests."""
        found = {}
        for module in pkgutil.walk_packages(hypermail.__path__, "hypermail."):
            if module.name.rpartition(".")[2] == "states":
                for value in vars(importlib.import_module(module.name)).values():
                    if isinstance(value, Table):
                        found[id(value)] = value.name
        self.assertEqual(found, {id(table): table.name for table, *_ in TABLES})

    def test_every_pair(self) -> None:
        """Each pair of state and input leads where the table says, or raises; none does anything else."""
        for table, states, inputs, _, _ in TABLES:
            transitions = {(state, input): after for state, input, after in table}
            for state in states:
                for input in inputs:
                    self.assertEqual(table.allows(state, input), (state, input) in transitions)
                    if (state, input) in transitions:
                        self.assertIs(table.next(state, input), transitions[state, input])
                        self.assertIsInstance(table.next(state, input), states)
                    else:
                        error = self.assertRaises(IllegalTransition, table.next, state, input)
                        for word in (table.name, state.name, input.name):
                            self.assertIn(word, error.text)

    def test_foreign_pairs(self) -> None:
        """No table has a state or an input of another machine."""
        for table, states, inputs, _, _ in TABLES:
            for state, input, after in table:
                self.assertEqual((type(state), type(input), type(after)), (states, inputs, states))

    def test_initial(self) -> None:
        """Each table begins in one of the states where its machines begin."""
        for table, _, _, initial, _ in TABLES:
            self.assertIn(table.initial, initial)

    def test_reachable(self) -> None:
        """Every state can be reached, and every input is of use somewhere."""
        for table, states, inputs, initial, _ in TABLES:
            self.assertEqual(reachable(table, initial), set(states), table.name)
            self.assertEqual({input for _, input, _ in table}, set(inputs), table.name)

    def test_terminal(self) -> None:
        """Exactly the states that are meant to be final can't be left, and from every state one of them is reached."""
        for table, states, _, _, terminal in TABLES:
            self.assertEqual(set(states) - left(table), terminal, table.name)
            for state in states:
                final = terminal or set(states)  # what goes round for ever comes everywhere again
                self.assertTrue(reachable(table, {state}) & final, (table.name, state))
                self.assertTrue(terminal or reachable(table, {state}) == final, (table.name, state))

    @settings(deadline=None)
    @given(st.data())
    def test_any_inputs(self, draw: st.DataObject) -> None:
        """Under any inputs a machine stays within its states, and an illegal one leaves it where it was."""
        for table, states, inputs, _, terminal in TABLES:
            state = table.initial
            ended = False
            for input in draw.draw(st.lists(st.sampled_from(list(inputs)), max_size=12)):
                before = state
                try:
                    state = table.next(state, input)
                except IllegalTransition:
                    self.assertFalse(table.allows(before, input))
                self.assertIn(state, list(states))
                self.assertFalse(ended and state is not before)
                ended = state in terminal


class RulesTests(SynchronousTestCase):
    """What the protocol says in words, of single tables."""

    def test_everything_can_end(self) -> None:
        """Link, session and stream can be ended in whatever state they are; a link and a session even twice."""
        for state in Link:
            self.assertIs(LINK.next(state, LinkInput.END), Link.ENDED)
        for session in Session:
            self.assertIs(SESSION.next(session, SessionInput.END), Session.ENDED)
        for opening in set(Opening) - {Opening.OVER}:
            self.assertIs(OPENING.next(opening, OpeningInput.END), Opening.OVER)

    def test_link(self) -> None:
        """A link opens only after it has keys, and only by a datagram under these."""
        self.assertRaises(IllegalTransition, LINK.next, Link.OPENING, LinkInput.SHORT_OPENED)
        self.assertIs(LINK.next(Link.KEYED, LinkInput.SHORT_OPENED), Link.OPEN)
        self.assertRaises(IllegalTransition, LINK.next, Link.OPEN, LinkInput.KEYS_DERIVED)

    def test_session(self) -> None:
        """A session opens by one acceptance, never twice, and is closed only after everything was delivered."""
        opens = {state for state, input, after in SESSION if after is Session.OPEN}
        self.assertEqual(opens, {Session.OPENING, Session.DECIDING})
        self.assertRaises(IllegalTransition, SESSION.next, Session.OPEN, SessionInput.ACCEPT)
        self.assertRaises(IllegalTransition, SESSION.next, Session.OPEN, SessionInput.CLOSE_ACKED)
        self.assertRaises(IllegalTransition, SESSION.next, Session.CLOSING, SessionInput.CLOSE_ACKED)
        self.assertIs(SESSION.next(Session.CLOSE_SENT, SessionInput.CLOSE_ACKED), Session.ENDED)
        self.assertIs(SESSION.next(Session.CLOSE_RECEIVED, SessionInput.DRAINED), Session.ENDED)

    def test_message(self) -> None:
        """A message that was begun can't be withdrawn without the peer's answer, and is settled once."""
        self.assertIs(OUTGOING.next(Message.QUEUED, MessageInput.WITHDRAW), Message.SETTLED)
        self.assertIs(OUTGOING.next(Message.BEGUN, MessageInput.WITHDRAW), Message.CLEARING)
        self.assertRaises(IllegalTransition, OUTGOING.next, Message.SETTLED, MessageInput.SETTLE)
        self.assertRaises(IllegalTransition, OUTGOING.next, Message.BEGUN, MessageInput.BEGIN)

    def test_stream_sending(self) -> None:
        """A direction is flushed only after all was sent; what is flushed stays so, whatever is cleared later."""
        self.assertRaises(IllegalTransition, SENDING.next, Sending.WRITING, SendingInput.FLUSH_ACKED)
        self.assertRaises(IllegalTransition, SENDING.next, Sending.FINISHING, SendingInput.FLUSH_ACKED)
        self.assertRaises(IllegalTransition, SENDING.next, Sending.FINISHING, SendingInput.FINISH)
        self.assertIs(SENDING.next(Sending.FLUSHED, SendingInput.CLEAR), Sending.FLUSHED)

    def test_stream_receiving(self) -> None:
        """Nothing is complete before its length is known; what was delivered stays so; nothing follows a clear."""
        self.assertRaises(IllegalTransition, RECEIVING.next, Receiving.READING, ReceivingInput.ALL_RECEIVED)
        self.assertIs(RECEIVING.next(Receiving.DELIVERED, ReceivingInput.CLEAR), Receiving.DELIVERED)
        for input in set(ReceivingInput) - {ReceivingInput.CLEAR}:
            self.assertRaises(IllegalTransition, RECEIVING.next, Receiving.CLEARED, input)
