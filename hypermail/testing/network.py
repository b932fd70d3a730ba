"""
The simulated network: datagrams between addresses, in virtual time, as badly as wanted, the same for each seed.

Everything that happens is an event of one timeline: a datagram arrives, or a timer goes off. Nothing takes
time besides the network, so a minute of it passes as fast as the machine can work it off.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred

from hypermail.testing.conditions import PERFECT, Conditions, Counters
from hypermail.testing.direction import HEADERS_IPV4, HEADERS_IPV6, Arrival, Direction
from hypermail.testing.timeline import Call, Timeline, Timer

if TYPE_CHECKING:
    from hypermail.testing.reactor import SimulatedReactor

T = TypeVar("T")

#: (host, port), as Twisted's C{datagramReceived} is given it.
Address = tuple[str, int]

#: Called with the datagrams that have come to one address from another at one time, where from, and with which
#: codepoint of explicit congestion notification; once for each run of them that bear the same.
Receiver = Callable[[list[bytes], Address, int], object]

#: Events at one time that count as an endless loop.
MOST_AT_ONE_TIME = 100_000


class SimulatedNetwork:
    """
    Hosts, and what carries datagrams from each of them to each other.

    @param seed: of all chance: the same seed with the same traffic gives the same network.
    @param conditions: of every direction that is not told otherwise.
    @param start: s; what the clock shows at first.

    @ivar reactors: all that L{reactor} has made.
    """

    def __init__(self, seed: int | str = 0, conditions: Conditions = PERFECT, *, start: float = 0.0) -> None:
        self.seed = seed
        self.start = start
        self.reactors: list[SimulatedReactor] = []
        self._rules: list[tuple[str | None, str | None, Conditions]] = [(None, None, conditions)]
        self._timeline = Timeline(start)
        self._directions: dict[tuple[str, str], Direction] = {}
        self._receivers: dict[Address, Receiver] = {}
        self._arrivals: list[tuple[float, int, Direction, Address, Address, Arrival]] = []
        self._serial = 0
        self._public: dict[Address, Address] = {}
        self._private: dict[Address, Address | None] = {}
        self._calls: set[Timer] = set()

    # Time

    @property
    def now(self) -> float:
        """s of virtual time."""
        return self._timeline.now

    @property
    def in_flight(self) -> int:
        """Datagrams that are on their way."""
        return len(self._arrivals)

    @property
    def calls_pending(self) -> int:
        """Calls of L{call_at} that are still to come."""
        return len(self._calls)

    def timer(self, call: Call) -> Timer:
        """A timer in virtual time, not armed yet."""
        return self._timeline.timer(call)

    def call_at(self, when: float, call: Call) -> Timer:
        """
        Do something at a time, as changing the network's conditions.

        @param when: s of virtual time; the past counts as now.
        """

        def fire() -> None:
            self._calls.discard(timer)
            call()

        timer = self._timeline.timer(fire)
        self._calls.add(timer)
        timer.arm(when)
        return timer

    def next_event(self) -> float:
        """s of virtual time when something happens next, or C{math.inf}."""
        arrival = self._arrivals[0][0] if self._arrivals else inf
        return min(arrival, self._timeline.next_timer())

    def step(self) -> bool:
        """
        Go to the next event and let it happen, with everything else that arrives at the same time.

        @return: False when there is none.
        """
        when = self.next_event()
        if when == inf:
            return False
        self._timeline.now = max(when, self._timeline.now)
        if self._arrivals and self._arrivals[0][0] <= when:
            self._deliver(when)
        else:
            self._timeline.fire_due()
        return True

    def advance(self, seconds: float) -> None:
        """
        Let time pass, and everything happen in its turn.

        @param seconds: of virtual time.
        """
        until = self.now + seconds
        self._run(lambda: False, until)
        self._timeline.now = until

    def run_until(self, awaited: Deferred[T] | Coroutine[Any, Any, T], *, limit: float = 60.0) -> T:
        """
        Let time pass until a L{Deferred} fires or a coroutine is done, and no longer.

        @param limit: s of virtual time to wait at most.
        @return: the result.
        @raise AssertionError: when it takes longer, or nothing is left that could happen.
        @raise Exception: what the Deferred fails with.
        """
        results: list[T] = []
        failures: list[Any] = []
        deferred = ensureDeferred(awaited)
        deferred.addCallbacks(results.append, failures.append)
        until = self.now + limit
        self._run(lambda: bool(results or failures), until)
        if failures:
            failures[0].raiseException()
        if results:
            return results[0]
        idle = "nothing is left that could happen" if self.next_event() == inf else f"{limit:g} s have passed"
        raise AssertionError(f"{deferred!r} has not fired, and {idle}; {self.describe()}")

    def _run(self, done: Callable[[], bool], until: float) -> None:
        """Step while not done and not past C{until}."""
        steps_now, last = 0, self.now
        while not done() and self.next_event() <= until:
            self.step()
            steps_now = steps_now + 1 if self.now == last else 0
            last = self.now
            if steps_now > MOST_AT_ONE_TIME:
                raise AssertionError(f"{steps_now} events and time stands still; {self.describe()}")

    def describe(self) -> str:
        """The state of the network in one line, for messages."""
        elapsed = self.now - self.start
        return f"seed {self.seed!r}, {elapsed:.6f} s: {self.in_flight} in flight; {self.counters()}"

    def assert_clean(self) -> None:
        """
        Assert that no reactor has a delayed call left, and that nobody listens any more.

        @raise AssertionError: when not; it lists what is left.
        """
        left = [f"{call}" for reactor in self.reactors for call in reactor.getDelayedCalls()]
        left += [f"somebody listens at {host}:{port}" for host, port in self._receivers]
        if left:
            raise AssertionError("; ".join([*left, self.describe()]))

    # Hosts

    def attach(self, address: Address, receive: Receiver) -> None:
        """
        Listen at an address.

        @param receive: called with each batch of datagrams and its source.
        @raise ValueError: when somebody does already.
        """
        if address in self._receivers:
            raise ValueError(f"{address} is in use")
        self._receivers[address] = receive

    def detach(self, address: Address) -> None:
        """Listen no longer; what arrives is counted as unreachable."""
        self._receivers.pop(address, None)

    @property
    def attached(self) -> Sequence[Address]:
        """Where somebody listens."""
        return list(self._receivers)

    def reactor(self, *hosts: str) -> SimulatedReactor:
        """
        A host with a Twisted reactor of its own, in this network and its time.

        @param hosts: the host's IP addresses; C{127.0.0.1} when none are given.
        """
        from hypermail.testing.reactor import SimulatedReactor

        made = SimulatedReactor(self, hosts or ("127.0.0.1",))
        self.reactors.append(made)
        return made

    # Directions

    def direction(self, source: str, destination: str) -> Direction:
        """
        What carries datagrams from one host to another.

        @param source: a host's IP address; its own, if its NAT shows another one.
        """
        key = source, destination
        direction = self._directions.get(key)
        if direction is None:
            random = Random(f"{self.seed}: {source} > {destination}")
            headers = HEADERS_IPV6 if ":" in destination else HEADERS_IPV4
            conditions = self._conditions(source, destination)
            direction = self._directions[key] = Direction(conditions, random, self.start, headers)
        return direction

    def _conditions(self, source: str, destination: str) -> Conditions:
        """What was said last about a direction."""
        for origin, target, conditions in reversed(self._rules):
            if origin in (None, source) and target in (None, destination):
                return conditions
        raise LookupError((source, destination))  # the first rule is about all

    def set_conditions(
        self, conditions: Conditions, *, source: str | None = None, destination: str | None = None
    ) -> None:
        """
        Change the conditions from now on. What is on its way isn't touched.

        @param source: only in directions from this host.
        @param destination: only in directions to this host. With neither: everywhere.
        """
        rule = source, destination, conditions
        self._rules = [rule] if source is destination is None else [*self._rules, rule]
        for (origin, target), direction in self._directions.items():
            if source in (None, origin) and destination in (None, target):
                direction.conditions = conditions

    def counters(self) -> Counters:
        """What has happened in all directions together."""
        return sum((direction.counters for direction in self._directions.values()), Counters())

    def rebind(self, address: Address, public: Address, *, keep_old: bool = False) -> None:
        """
        A NAT before C{address} changes its mapping: from now on others see C{public} instead.

        @param address: where the host itself listens.
        @param public: what others see and answer to.
        @param keep_old: whether datagrams to what others saw before still arrive; otherwise they vanish, those
            that are on their way included.
        """
        if self._private.get(public) not in (None, address) or (public != address and public in self._receivers):
            raise ValueError(f"{public} is in use")
        if not keep_old:
            self._private[self._public.get(address, address)] = None
        self._public[address] = public
        self._private[public] = address

    def public_address(self, address: Address) -> Address:
        """What others see of C{address}."""
        return self._public.get(address, address)

    # Datagrams

    def send(
        self,
        source: Address,
        destination: Address,
        datagrams: Sequence[bytes | bytearray | memoryview],
        ecn: int = 0,
    ) -> None:
        """
        Send datagrams, in their order, at once.

        @param source: where the sender listens.
        @param ecn: the codepoint of explicit congestion notification (RFC 3168 §5) that all of them bear.
        """
        target = self._private.get(destination, destination) or destination
        direction = self.direction(source[0], target[0])
        seen = self._public.get(source, source)
        now = self._timeline.now
        for datagram in datagrams:
            for arrival in direction.carry(bytes(datagram), now, ecn):
                self._serial += 1
                heappush(self._arrivals, (arrival.when, self._serial, direction, seen, destination, arrival))

    def _deliver(self, when: float) -> None:
        """Hand over everything that arrives by C{when}: a batch for each pair of addresses, and run of equal marks."""
        batches: list[tuple[Direction, Address, Address, int, list[bytes]]] = []
        latest: dict[tuple[Address, Address], tuple[int, list[bytes]]] = {}
        arrivals = self._arrivals
        while arrivals and arrivals[0][0] <= when:
            _, _, direction, source, destination, arrival = heappop(arrivals)
            run = latest.get((source, destination))
            if run is None or run[0] != arrival.ecn:
                run = latest[source, destination] = (arrival.ecn, [])
                batches.append((direction, source, destination, *run))
            run[1].append(arrival.datagram)
        for direction, source, destination, ecn, datagrams in batches:
            target = self._private.get(destination, destination)
            receive = self._receivers.get(target) if target is not None else None
            if receive is None:
                direction.counters.unreachable += len(datagrams)
                continue
            direction.counters.delivered += len(datagrams)
            direction.counters.delivered_bytes += sum(map(len, datagrams))
            receive(datagrams, source, ecn)
