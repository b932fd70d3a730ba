"""
What is wrong with a peer's certificate, said so that people can act on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from hypermail.errors import PeerUntrusted
from hypermail.options import Role
from hypermail.security.identity import pin_of

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: Names of a certificate that a text shows, and characters of each.
_MOST_NAMES = 3
_LONGEST_NAME = 100

#: What OpenSSL's C{X509_V_ERR_...} numbers say to people (openssl/x509_vfy.h).
_PROBLEMS = {
    7: "its signature is of no authority that is trusted here",
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed",
    19: "it was issued by an authority that is not trusted here",
    20: "it was issued by an authority that is not trusted here",
    21: "it was issued by an authority that is not trusted here",
    22: "there are too many authorities between it and one that is trusted here",
    23: "it was revoked",
    24: "it was issued by something that is no authority",
    26: "it is not for this purpose",
    62: "it is not for the name that was asked for",
    64: "it is not for the address that was asked for",
}


def problem(number: int) -> str:
    """What one of OpenSSL's verification errors means."""
    return _PROBLEMS.get(number, f"it does not verify (OpenSSL's error {number})")


def names_of(certificate: Certificate) -> list[str]:
    """The names that a certificate is for, quoted: the peer has chosen them."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(name.value) for name in found if isinstance(name, (x509.DNSName, x509.IPAddress))]
    except Exception:  # the library has many for what it can't read, and OpenSSL reads more than it does
        names = []
    return [repr(name[:_LONGEST_NAME]) for name in names]


def complain(role: Role, certificate: Certificate | None, complaint: str) -> PeerUntrusted:
    """
    The error for what is wrong with a certificate.

    @param role: of who complains.
    @param complaint: the end of a sentence.
    """
    peer = "listener" if role is Role.STARTER else "starter"
    if certificate is None:
        return PeerUntrusted(f"the {peer}'s certificate is not trusted: {complaint}")
    names = names_of(certificate)
    whose = f" (for {', '.join(names[:_MOST_NAMES])}{', ...' * (len(names) > _MOST_NAMES)})" if names else ""
    pin = pin_of(certificate)
    return PeerUntrusted(f"the {peer}'s certificate{whose} is not trusted: {complaint}; its pin is {pin}", pin)
