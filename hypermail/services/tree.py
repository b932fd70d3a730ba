"""
What is meant by the files and directories of a command line.

A file is sent under its own name, a directory under its name and the paths below it, whatever way
leads there. Symbolic links to files are sent as the files, those to directories are not followed,
empty directories are not sent. Everything here blocks.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

from hypermail.errors import UsageError
from hypermail.services.paths import UnsafeName, safe_parts


class Item(NamedTuple):
    """
    One file to send.

    @ivar path: where it is here.
    @ivar name: the relative path that it is sent under, in UTF-8.
    @ivar size: bytes, when it was found.
    """

    path: str
    name: bytes
    size: int


class Found(NamedTuple):
    """What a command line comes to; C{problems} are lines for people about what cannot be sent."""

    items: list[Item]
    problems: list[str]


def find(arguments: Iterable[str], *, recursive: bool) -> Found:
    """
    Look for all files that the arguments name.

    @param recursive: whether directories are allowed.
    @raise UsageError: for a directory, when not.
    """
    found = Found([], [])
    for argument in arguments:
        try:
            status = os.stat(argument)
        except OSError as error:
            found.problems.append(f"cannot read {argument!r}: {error.strerror}")
            continue
        if not stat.S_ISDIR(status.st_mode):
            _add(found, argument, os.path.basename(argument), status)
        elif recursive:
            _descend(found, argument, _name_of_directory(argument))
        else:
            raise UsageError(f"{argument!r} is a directory: --recursive sends what is in it")
    return found


def _name_of_directory(path: str) -> str:
    name = os.path.basename(os.path.normpath(path))
    return os.path.basename(os.path.realpath(path)) if name in ("", os.curdir, os.pardir) else name


def _descend(found: Found, path: str, name: str) -> None:
    """Add what is below a directory, in the order of names."""
    try:
        with os.scandir(path) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.problems.append(f"cannot read {path!r}: {error.strerror}")
        return
    for entry in ordered:
        inner = f"{name}/{entry.name}" if name else entry.name
        try:
            if entry.is_dir(follow_symlinks=False):
                _descend(found, entry.path, inner)
            else:
                _add(found, entry.path, inner, entry.stat(), link=entry.is_symlink())
        except OSError as error:
            found.problems.append(f"cannot read {entry.path!r}: {error.strerror}")


def _add(found: Found, path: str, name: str, status: os.stat_result, *, link: bool = False) -> None:
    """Add one file, or say why not."""
    if link and stat.S_ISDIR(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode):
        found.problems.append(f"cannot send {path!r}: it is neither a file nor a directory")
        return
    encoded = os.fsencode(name)
    try:
        safe_parts(encoded)
    except UnsafeName as error:
        found.problems.append(f"cannot send {path!r}: {error.text}")
        return
    found.items.append(Item(path, encoded, status.st_size))
