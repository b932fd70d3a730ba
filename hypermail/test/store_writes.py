"""
What SQLite writes to files, one write after the other, so that tests may have it fail or stop there.

SQLite offers this itself: the functions by which its VFS calls the system can be exchanged (C{xSetSystemCall},
https://www.sqlite.org/c3ref/vfs.html), for the whole process.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any

#: Is given a write's number, counted from 0, its bytes, and what writes bytes to the same place. Returns how many it
#: has written, or None: the disk is full.
Hook = Callable[[int, bytes, Callable[[bytes], int]], int | None]

_WRITE = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, use_errno=True)
_PWRITE = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, use_errno=True
)
_SET = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("pointers", ctypes.c_void_p * 16),
        ("set_system_call", _SET),
    ]


def _vfs() -> Any:
    find = ctypes.CDLL(_sqlite3.__file__).sqlite3_vfs_find
    find.restype = ctypes.POINTER(_Vfs)
    return find(None)


def available() -> bool:
    """Whether SQLite can be had to do this here."""
    try:
        vfs = _vfs()
    except (OSError, AttributeError):
        return False
    return bool(vfs) and vfs.contents.version >= 3 and bool(vfs.contents.set_system_call)


class Writes:
    """
    While it is entered, each write of SQLite goes through a hook.

    @ivar count: writes so far.
    """

    def __init__(self, hook: Hook) -> None:
        self.count = 0
        self._hook = hook
        self._functions = {
            b"write": _WRITE(self._write),
            b"pwrite": _PWRITE(self._write),
            b"pwrite64": _PWRITE(self._write),
        }

    def _write(self, descriptor: int, data: int, size: int, offset: int | None = None) -> int:
        number = self.count
        self.count += 1
        done = self._hook(
            number,
            ctypes.string_at(data, size),
            lambda content: os.write(descriptor, content) if offset is None else os.pwrite(descriptor, content, offset),
        )
        if done is None:
            ctypes.set_errno(errno.ENOSPC)
            return -1
        return done

    def __enter__(self) -> Writes:
        self._set({name: ctypes.cast(function, ctypes.c_void_p) for name, function in self._functions.items()})
        return self

    def __exit__(self, *_: object) -> None:
        self._set(dict.fromkeys(self._functions))

    def _set(self, functions: dict[bytes, Any]) -> None:
        vfs = _vfs()
        for name, function in functions.items():
            vfs.contents.set_system_call(ctypes.cast(vfs, ctypes.c_void_p), name, function)
