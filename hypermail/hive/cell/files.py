"""
The files of a directory as a cell's application.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.web import http
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource
from twisted.web.static import DirectoryLister, File

from hypermail.errors import UsageError
from hypermail.hive.cell.resource import ResourceApplication


class FilesApplication(ResourceApplication):
    """
    Serves the files of a directory, ranges of them, and C{index.html} for directories. Nothing whose name begins with a
    dot is there, and no link leads out of the directory.
    """

    def __init__(self, directory: str, *, listing: bool = False) -> None:
        """
        @param listing: whether directories without C{index.html} are shown.
        @raise UsageError: when there is no such directory.
        """
        if not os.path.isdir(directory):
            raise UsageError(f"{directory!r} is no directory")
        super().__init__(_Served(directory, top=os.path.realpath(directory), listing=listing), most=0)


class _Served(File):
    """@param top: what everything has to be in, without links."""

    isLeaf = False

    def __init__(self, path: str, *arguments: Any, top: str, listing: bool) -> None:
        super().__init__(path, *arguments)
        self._top = top
        self._listing = listing

    def createSimilarFile(self, path: str) -> _Served:
        """See L{File}."""
        similar = _Served(path, self.defaultType, self.ignoredExts, self.registry, top=self._top, listing=self._listing)
        similar.processors = self.processors
        similar.indexNames = self.indexNames[:]
        similar.childNotFound = self.childNotFound
        return similar

    def getChild(self, path: bytes, request: Any) -> IResource:
        """See L{File}."""
        if path.startswith(b".") or b"\0" in path:
            return self.childNotFound
        child = super().getChild(path, request)  # type: ignore[no-untyped-call]
        return self.childNotFound if isinstance(child, _Served) and not child.isAllowed() else child

    def isAllowed(self) -> bool:
        """Whether it is a file or directory that may be seen."""
        real = os.path.realpath(self.path)
        inside = real == self._top or real.startswith(os.path.join(self._top, ""))
        return inside and (os.path.isfile(real) or os.path.isdir(real))

    def directoryListing(self) -> IResource:
        """See L{File}."""
        if not self._listing:
            return self.childNotFound
        found = self.listNames()  # type: ignore[no-untyped-call]
        names = [name for name in found if not name.startswith(".") and self._sees(name)]
        return DirectoryLister(self.path, sorted(names), self.contentTypes, self.contentEncodings, self.defaultType)

    def _sees(self, name: str) -> bool:
        return self.createSimilarFile(os.path.join(self.path, name)).isAllowed()

    def render_GET(self, request: Any) -> Any:
        """See L{File}. Preconditions are evaluated as RFC 9110 §13.2.2 has it."""
        self.restat(False)
        if self.isfile():
            status = os.stat(self.path)
            tag = b'"%x-%x"' % (status.st_mtime_ns, status.st_size)
            if request.getHeader(b"if-none-match") is not None:
                tags = request.requestHeaders.getRawHeaders(b"if-none-match")
                known = [one.strip().removeprefix(b"W/") for value in tags for one in value.split(b",")]
                request.requestHeaders.setRawHeaders(b"if-none-match", [b" ".join(known)])
                request.requestHeaders.removeHeader(b"if-modified-since")
            if request.setETag(tag) is http.CACHED:
                return b""
            unchanged = request.getHeader(b"if-range")
            if unchanged is not None and unchanged not in (tag, datetimeToString(int(status.st_mtime))):
                request.requestHeaders.removeHeader(b"range")
        return super().render_GET(request)  # type: ignore[no-untyped-call]

    render_HEAD = render_GET
