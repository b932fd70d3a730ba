"""
The parent of a listener's workers: the service of C{twistd hypermail --workers N}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from socket import socket
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

from hypermail.errors import HypermailError
from hypermail.internet.endpoint_settings import interfacesOf, mannerOf
from hypermail.internet.security import Plain, Security, refuseToLeave
from hypermail.internet.settings import ListenerSettings
from hypermail.internet.steering import SteeredSockets, openSteered
from hypermail.internet.strays import openDoors
from hypermail.services.announcing import announce, announceWay
from hypermail.services.directory import InboxDirectory
from hypermail.services.ending import cannotStart, causeOf, endWithFailure
from hypermail.services.kept import file_of, owner_of
from hypermail.services.listener import Doing
from hypermail.services.processes.life import WorkerLife
from hypermail.services.processes.orders import Orders
from hypermail.services.processes.overview import Overview
from hypermail.services.store_shares import share

MODULE = "hypermail.services.processes.worker"
"""What a worker's process runs."""

FIRST = 3
"""The descriptor of a worker's process from which on it has its sockets."""


class WorkersService(Service):
    """
    Keeps the sockets of a listener, and workers that serve them.

    @param reactor: of the program: one that starts processes.
    @param doing: what each worker does.
    @param workers: how many there are; more than one.
    @param arguments: the options that say so, for them to read.
    @param overview: tells of their sessions, when somebody may want to look.
    """

    name = "hypermail"
    _log = Logger()

    def __init__(
        self, reactor: Any, doing: Doing, workers: int, arguments: Sequence[str], overview: Overview | None = None
    ) -> None:
        self._reactor = reactor
        self._doing = doing
        self._count = workers
        self._arguments = arguments
        self._overview = overview
        # Before anybody goes to another directory, as to where daemons live.
        self._path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        self._sockets: SteeredSockets | None = None
        self._doors: list[tuple[socket, socket]] = []
        self._security: Security | None = None
        self._workers: list[WorkerLife] = []
        self._starting: set[WorkerLife] = set()

    @property
    def _settings(self) -> ListenerSettings:
        settings = self._doing.settings
        assert isinstance(settings, ListenerSettings)  # dialects have no workers
        return settings

    def privilegedStartService(self) -> None:
        """Bind the sockets, which may need privileges; C{twistd} gives them up afterwards."""
        self._bind()

    def startService(self) -> None:
        """
        Begin; C{twist} calls this alone.

        @raise hypermail.services.ending.CannotStart: when it cannot.
        """
        Service.startService(self)
        if self._sockets is None:
            self._bind()
        try:
            self._prepare()
        except HypermailError as error:
            cannotStart(self._log, error.text)
        self._start()

    def _bind(self) -> None:
        port, interface = self._doing.listening
        plain = Plain(self._settings.allowRemotePlain) if self._settings.plain else None
        try:
            if plain is not None and interface:
                refuseToLeave(plain, interface, "listen on")
            interfaces = interfacesOf(plain is None or plain.allowRemote, interface)
            self._sockets = openSteered(port, interfaces, self._count)
        except CannotListenError as error:
            where = f"UDP port {error.port}" + (f" of {error.interface}" if error.interface else "")
            cannotStart(self._log, f"cannot listen on {where}: {causeOf(error)}")
        except HypermailError as error:
            cannotStart(self._log, error.text)

    def _prepare(self) -> None:
        """
        Do once what each worker would do at its start, when several would get in each other's way.

        @raise HypermailError: when it cannot be done, of which none of them needs to try then.
        """
        doing, settings = self._doing, self._settings
        security = self._security = settings.security()
        if doing.inbox is not None:
            inbox = InboxDirectory(doing.inbox)
            inbox.open()
            inbox.close()
        owner = owner_of(security)
        file = None if owner is None else self._storeFile()
        if owner is not None and file is not None:
            # When this fails nothing may be written to what was copied already: it will be copied once more.
            share(file, owner, self._count)

    def _storeFile(self) -> Path | None:
        """Where sessions would be without workers; None where none are kept, which each worker says."""
        try:
            return file_of(self._settings, self._doing.listening)
        except HypermailError:
            return None

    def _start(self) -> None:
        assert self._sockets is not None and self._security is not None
        hosts = self._sockets.getHosts()
        self._log.info(
            "listening on {addresses} in {manner}",
            addresses=" and ".join(map(str, hosts)),
            manner=mannerOf(self._security),
        )
        self._log.info("{count} workers share the sessions", count=self._count)
        announce(self._log, self._doing, self._security, hosts[0].port)
        self._doors = openDoors(self._count)
        secret = self._security.stateless or os.urandom(32)
        for number in range(self._count):
            orders = self._orders(number, secret)
            self._workers.append(WorkerLife(self._reactor, number, orders.encode(), self._spawn, self))
        if self._overview is not None:
            self._overview.begin(hosts, self._workers)
        self._starting = set(self._workers)
        for worker in self._workers:
            worker.start()

    def _orders(self, number: int, secret: bytes) -> Orders:
        descriptors = iter(range(FIRST, 1 << 16))
        assert self._sockets is not None
        return Orders(
            worker=number,
            workers=self._count,
            arguments=self._arguments,
            reactor=type(self._reactor).__module__,
            secret=secret.hex(),
            sockets=[next(descriptors) for _ in self._sockets.shares[number]],
            inner=next(descriptors),
            outer=[next(descriptors) for _ in self._doors],
        )

    def _spawn(self, worker: WorkerLife, protocol: ProcessProtocol) -> IProcessTransport:
        assert self._sockets is not None
        inner = self._doors[worker.number][0]
        handed = [*self._sockets.shares[worker.number], inner, *(outer for _, outer in self._doors)]
        descriptors: dict[int, int | str] = {0: "w", 1: "r", 2: "r"}
        descriptors |= {number: each.fileno() for number, each in enumerate(handed, FIRST)}
        # The number is for who looks at a list of processes.
        arguments = [sys.executable, "-m", MODULE, str(worker.number)]
        environment = {**os.environ, "PYTHONPATH": self._path}
        started: IProcessTransport = self._reactor.spawnProcess(
            protocol, sys.executable, arguments, env=environment, childFDs=descriptors
        )
        return started

    # What becomes of them

    def workerReady(self, worker: WorkerLife) -> None:
        """See L{hypermail.services.processes.life.Owner}."""
        self._log.info("worker {number} (process {pid}) serves", number=worker.number, pid=worker.pid)
        self._starting.discard(worker)

    def takeAway(self, worker: WorkerLife, transfer: str) -> Deferred[None]:
        """See L{hypermail.services.processes.life.Owner}."""
        others = [other.ask("leave", transfer=transfer) for other in self._workers if other is not worker]
        return gatherResults(others).addCallback(lambda _: None)

    def workerDied(self, worker: WorkerLife, text: str, served: bool) -> None:
        """
        See L{hypermail.services.processes.life.Owner}. When one cannot even begin when all do, the program ends; later
        it is tried again, as whatever keeps it from that may pass, and the others serve on.
        """
        if worker in self._starting and self.running:
            self._starting.clear()
            endWithFailure(self._reactor, self._log, text)

    def reload(self) -> None:
        """
        Read identity and trust again; sessions that are open go on. What cannot be read is logged, and nothing changes.
        """
        if self._sockets is None or not self._workers:
            return
        try:
            security = self._settings.security(again=True)
        except HypermailError as error:
            self._log.error("identity and trust stay as they were: {reason}", reason=error.text)
            return
        self._security = security
        for worker in self._workers:
            worker.reload()
        announceWay(self._log, self._doing, security, self._sockets.getHosts()[0].port)

    def stopService(self) -> Deferred[None]:
        """End all workers in order, and close the sockets when none is left."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        workers, self._workers = self._workers, []
        await gatherResults([worker.end() for worker in workers])
        sockets, self._sockets = self._sockets, None
        if sockets is not None:
            sockets.close()
        for sides in self._doors:
            for side in sides:
                side.close()
        self._doors = []
