"""
Tests of L{hypermail.internet.traces}.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hypermail.internet.traces import TraceFile, Traces
from hypermail.options import Role
from hypermail.test.sessions import Hosts, logged
from hypermail.trace import NullTrace, Trace


class SessionTests(SynchronousTestCase):
    """
    The traces of a session
    """

    def test_bothSides(self) -> None:
        """Both sides write a trace under the starter's first tag, one JSON object a line, until its end."""
        directory = Path(self.mktemp())
        hosts = Hosts()
        hosts.listen(traceDirectory=directory / "deeper")
        protocol = hosts.run(hosts.ask(traceDirectory=directory / "deeper"))
        name = f"{protocol.session.connection.first_tag:016x}"
        hosts.run(protocol.session.sendMessage(b"x"))
        hosts.run(protocol.session.close())
        hosts.end()
        paths = sorted((directory / "deeper").iterdir())
        self.assertEqual([path.name for path in paths], [f"listener-{name}.sqlog", f"starter-{name}.sqlog"])
        for path, role in zip(paths, ("server", "client")):
            records = [json.loads(line) for line in path.read_text().splitlines()]
            self.assertEqual(records[0]["trace"]["vantage_point"]["type"], role)
            names = {record["name"] for record in records[1:]}
            self.assertIn("transport:packet_sent", names)
            self.assertIn("connectivity:connection_closed", names)

    def test_unwritable(self) -> None:
        """A directory that cannot be written is logged, and does no harm."""
        path = self.mktemp()
        Path(path).write_text("a file")
        hosts = Hosts()
        hosts.listen(traceDirectory=path)
        hosts.run(hosts.ask(traceDirectory=path))
        hosts.end()


class TracesTests(SynchronousTestCase):
    """
    L{Traces} and L{TraceFile}
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.lines = logged(self)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def test_none(self) -> None:
        """Without a directory nothing is written."""
        traces = Traces(None)
        for trace in (traces.ofStarter(0.0), traces.ofStranger(Role.LISTENER, "aa", 0.0)):
            self.assertIs(type(trace), NullTrace)
            traces.name(trace, "x")

    def test_namesAreFree(self) -> None:
        """Nothing is overwritten."""
        traces = Traces(str(self.directory))
        for _ in range(3):
            traces.ofStranger(Role.LISTENER, "aa", 0.0).close()
        self.assertEqual(self.names(), ["listener-aa-2.sqlog", "listener-aa-3.sqlog", "listener-aa.sqlog"])

    def test_nameTaken(self) -> None:
        """A starter's trace whose name is taken keeps the name that it has."""
        traces = Traces(self.directory)
        for _ in range(2):
            trace = traces.ofStarter(0.0)
            traces.name(trace, "aa")
            traces.name(trace, "bb")
            trace.close()
        self.assertEqual(self.names(), ["starter-aa.sqlog", "starter-new.sqlog"])

    def test_cannotRename(self) -> None:
        """... and so does one whose directory is gone."""
        file = self._file()
        self.directory.rename(self.mktemp())
        path = file.path
        file.rename("other")
        self.assertEqual(file.path, path)
        file.close()

    def _file(self) -> TraceFile:
        self.directory.mkdir()
        return TraceFile(self.directory / "a.sqlog")

    def test_afterTheEnd(self) -> None:
        """The last words of a session, after its end, are not written."""
        trace = Traces(self.directory).ofStranger(Role.LISTENER, "aa", 0.0)
        assert isinstance(trace, Trace)
        trace.close()
        trace.event(1.0, "more")
        self.assertEqual(len((self.directory / "listener-aa.sqlog").read_text().splitlines()), 1)

    def test_fullDisk(self) -> None:
        """A disk that is full ends the trace with one line in the log."""
        file = self._file()

        class Full:
            closed = False

            def write(self, line: str) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            def close(self) -> None:
                self.closed = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        file.close()
        file._file = Full()  # type: ignore[assignment]
        file.write("a")
        file.write("b")
        file.close()
        self.assertEqual(len(self.lines), 2)
        self.assertIn("No space left", self.lines[0])
