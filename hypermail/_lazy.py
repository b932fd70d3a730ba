"""
Public names of a package that are loaded when they are first used (PEP 562).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

Lazily = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def lazily(package: str, homes: Mapping[str, Sequence[str]]) -> Lazily:
    """
    What a package needs for names that are in modules of its own.

    @param package: its name.
    @param homes: the names, by the modules that they are in.
    @return: its C{__getattr__}, C{__dir__} and C{__all__}.
    """
    home_of = {name: module for module, names in homes.items() for name in names}
    namespace = vars(sys.modules[package])

    def load(name: str) -> Any:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = namespace[name] = getattr(import_module(home), name)
        return value

    def names() -> list[str]:
        return sorted({*namespace, *home_of})

    return load, names, sorted(home_of)
