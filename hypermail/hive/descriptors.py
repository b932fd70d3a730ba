"""
How many connections a process may have.
"""

from __future__ import annotations

from contextlib import suppress


def allow_many() -> None:
    """As many descriptors as the system lets one ask for; harmless where there is no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    with suppress(ValueError, OSError):  # macOS has a limit that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
