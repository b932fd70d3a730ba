"""
Trace files: one for each connection in a directory, in the format of L{hypermail.trace}.

Reading C{starter-ID.sqlog} beside C{listener-ID.sqlog} shows both sides of one session.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from twisted.logger import Logger

from hypermail.options import Role
from hypermail.trace import NullTrace, Trace

_NONE = NullTrace()

#: qlog's words for the two roles.
_VANTAGE = {Role.STARTER: "client", Role.LISTENER: "server"}


class TraceFile:
    """
    A file that a trace is written to. A disk that fails ends the trace, not the session.

    @ivar path: where it is now.
    """

    __slots__ = ("_failed", "_file", "path")

    _log = Logger()

    def __init__(self, path: Path) -> None:
        """
        @raise OSError: when there is a file of this name, or none can be made.
        """
        self.path = path
        self._file = open(path, "x", encoding="utf-8")
        self._failed = False

    def write(self, line: str) -> None:
        """Write a line; what comes after L{close}, as the last words of a session do, is not written."""
        if not self._failed and not self._file.closed:
            try:
                self._file.write(line)
            except OSError as error:
                self._failed = True
                self._log.error("trace {path} ends here: {reason}", path=str(self.path), reason=str(error))

    def close(self) -> None:
        """Nothing more will be written."""
        try:
            self._file.close()
        except OSError as error:
            self._log.error("trace {path} is incomplete: {reason}", path=str(self.path), reason=str(error))

    def rename(self, name: str) -> None:
        """Give the file the name that people look for, unless there is such a file already."""
        path = self.path.with_name(name)
        if not path.exists():
            try:
                self.path.rename(path)
            except OSError:
                return  # it keeps the name that it has
            self.path = path


class Traces:
    """
    The traces of the connections of one socket: C{<role>-<first tag>.sqlog}, with a number behind it when
    there is such a file already.

    @param directory: where the files go, made when it is missing; None for no traces.
    """

    __slots__ = ("_directory", "_unnamed")

    _log = Logger()

    def __init__(self, directory: str | Path | None) -> None:
        self._directory = None if directory is None else Path(directory)
        self._unnamed: dict[NullTrace, TraceFile] = {}

    def ofStranger(self, role: Role, name: str, now: float) -> NullTrace:
        """
        The trace of a connection that a stranger begins.

        @param name: the starter's first tag, which both sides know from the start.
        @param now: s; when it begins.
        """
        file = self._create(role, name)
        return _NONE if file is None else _trace(file, role, name, now)

    def ofStarter(self, now: float) -> NullTrace:
        """The trace of a connection that we begin; L{name} follows."""
        file = self._create(Role.STARTER, "new")
        if file is None:
            return _NONE
        trace = _trace(file, Role.STARTER, "new", now)
        self._unnamed[trace] = file
        return trace

    def name(self, trace: NullTrace, name: str) -> None:
        """The connection's name is known."""
        file = self._unnamed.pop(trace, None)
        if file is not None:
            file.rename(f"{Role.STARTER.name.lower()}-{name}.sqlog")

    def _create(self, role: Role, name: str) -> TraceFile | None:
        if self._directory is None:
            return None
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            return self._createIn(self._directory, f"{role.name.lower()}-{name}")
        except OSError as error:
            self._log.error("no trace in {path}: {reason}", path=str(self._directory), reason=str(error))
            return None

    def _createIn(self, directory: Path, name: str) -> TraceFile:
        path = directory / f"{name}.sqlog"
        for number in count(2):
            try:
                return TraceFile(path)
            except FileExistsError:
                path = directory / f"{name}-{number}.sqlog"
        raise AssertionError("there is always a next number")


def _trace(file: TraceFile, role: Role, name: str, now: float) -> Trace:
    return Trace(file.write, f"hypermail session {name}", _VANTAGE[role], now, file.close)
