"""
For tests of what a user may not do, who may be root.
"""

from __future__ import annotations

import ctypes
import os
import sys
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

# capabilities(7), capget(2)
_VERSION = 0x20080522
_DAC_OVERRIDE = 1
_DAC_READ_SEARCH = 2


def obeying(test: SynchronousTestCase) -> None:
    """
    Have this thread obey the permissions of files until the end of a test, even when it is root's: on Linux by doing
    without the capabilities that let it pass them over.

    @raise SkipTest: where that cannot be.
    """
    if not hasattr(os, "geteuid"):
        raise SkipTest("files have no such permissions here")
    if os.geteuid() != 0:
        return
    if sys.platform != "linux":
        raise SkipTest("root may do everything here; run this as somebody else")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice 32 of each

    def check(result: int) -> None:
        if result:
            raise SkipTest(f"root's capabilities cannot be changed here: {os.strerror(ctypes.get_errno())}")

    check(libc.capget(header, held))
    fewer = (ctypes.c_uint32 * 6)(*held)
    fewer[0] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    check(libc.capset(header, fewer))
    test.addCleanup(libc.capset, header, held)
