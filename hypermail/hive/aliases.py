"""
Which host a request's host means (C{docs/protocol/hive}, "Mounts").
"""

from __future__ import annotations

from collections.abc import Mapping

from hypermail.hive.mounts import HERE

#: The alias of every host that has none.
FALLBACK = "(fallback)"
#: What means this machine, unless the configuration says otherwise.
DEFAULT: Mapping[str, str] = dict.fromkeys(("localhost", "127.0.0.1", "::ffff:127.0.0.1", "::1"), HERE)


def bare(authority: str) -> str:
    """
    The host of a C{Host} header or C{:authority}: in lower case, without its port, the brackets of IPv6, and the dot
    with which a name may end.
    """
    host = authority.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") == 1:
        host = host.partition(":")[0]
    return host.removesuffix(".")


class Aliases:
    """
    What other names a host has.

    @param names: by alias, in lower case; L{FALLBACK} for those that have none.
    """

    def __init__(self, names: Mapping[str, str] = DEFAULT) -> None:
        self._names = names

    def resolve(self, authority: str) -> str:
        """The host that L{hypermail.hive.mounts.Mounts.find} is to look for."""
        host = bare(authority)
        found = self._names.get(host)
        return self._names.get(FALLBACK, host) if found is None else found
