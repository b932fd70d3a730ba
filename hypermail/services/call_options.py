"""
The parameters of every command that opens a session, and what they make.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from hypermail.errors import UsageError
from hypermail.services.addresses import Destination, parse_destination
from hypermail.services.rates import parse_rate

if TYPE_CHECKING:
    from hypermail.internet.settings import StarterSettings
    from hypermail.services.dialects import DialectSettings

F = TypeVar("F", bound=Callable[..., Any])

#: C{hypermail.services.dialects.DIALECTS}, which is not loaded for the help.
_DIALECTS = ("batch", "digest")


def _read_destination(context: click.Context, parameter: click.Parameter, value: str) -> Destination:
    try:
        return parse_destination(value)
    except UsageError as error:
        raise click.BadParameter(error.text, context, parameter) from None


def read_rate(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_rate(value)
    except UsageError as error:
        raise click.BadParameter(error.text, context, parameter) from None


class Manner(NamedTuple):
    """
    How a session is to be opened.

    @ivar settings: whom to trust, and who we are.
    @ivar dialect: in place of that; None for the native protocol.
    """

    settings: StarterSettings
    dialect: DialectSettings | None


def manner(
    *,
    pin: str | None,
    trust_roots: str | None,
    identity: str | None,
    secret_file: str | None,
    plain: bool,
    allow_remote_plain: bool,
    dialect: str | None,
    max_rate: float | None = None,
    **of_dialect: Any,
) -> Manner:
    """
    What the parameters say, and others have to say nothing.

    @param max_rate: bit/s, for a dialect.
    @param of_dialect: what only dialects have a use for.
    @raise click.UsageError: when they don't fit together.
    """
    from hypermail.internet.settings import StarterSettings
    from hypermail.services.dialects import DialectSettings

    secret: dict[str, Any] = {"secret_file": secret_file}
    tls = {"pin": pin, "trust_roots": trust_roots, "identity": identity, "plain": plain}
    tls["allow_remote_plain"] = allow_remote_plain
    try:
        if dialect is not None:
            _none(tls, f"dialect {dialect} does not encrypt: leave out")
            found = DialectSettings(name=dialect, max_rate=max_rate, **secret, **of_dialect)
            found.check()
            return Manner(StarterSettings(), found)
        _none(of_dialect, f"give --dialect {' or '.join(_DIALECTS)}, too, or leave out")
        settings = StarterSettings(
            pin=pin,
            trustRoots=trust_roots,
            identity=identity,
            secretFile=secret_file,
            plain=plain,
            allowRemotePlain=allow_remote_plain,
        )
        settings.check()
    except UsageError as error:
        raise click.UsageError(error.text) from None
    return Manner(settings, None)


def _none(given: dict[str, Any], why: str) -> None:
    """@raise UsageError: when any is given."""
    for name, value in given.items():
        if value:
            raise UsageError(f"{why} --{name.replace('_', '-')}")


def calling(timeout: float, help: str) -> Callable[[F], F]:
    """
    The parameters of every command that opens a session.

    @param timeout: the default of C{--timeout}, s.
    @param help: what that is.
    """

    def decorated(command: F) -> F:
        for decorate in (*_DIALECT, _timeout(timeout, help), *_CALLING):
            command = decorate(command)
        return command

    return decorated


def _timeout(default: float, help: str) -> Callable[[F], F]:
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True, max=86_400),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=help,
    )


_CALLING: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--trace",
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Write a structured event log (qlog), one file per connection.",
    ),
    click.option(
        "--pin",
        metavar="PIN",
        help="Trust the listener with this key (sha256/...), whatever its certificate's name and authority.",
    ),
    click.option(
        "--trust-roots",
        type=click.Path(),
        metavar="FILE",
        help="Trust certificates of these authorities (PEM) instead of the system's.",
    ),
    click.option(
        "--identity",
        type=click.Path(),
        metavar="FILE",
        help="Key and certificate (PEM) to show to the listener; see `hypermail identity`.",
    ),
    click.option(
        "--secret-file",
        type=click.Path(),
        metavar="FILE",
        help="Mode secret instead of TLS: at least 32 secret bytes that the listener has, too. With --dialect digest: "
        "the own secret.",
    ),
    click.option(
        "--plain",
        is_flag=True,
        help="Mode plain instead of TLS: neither encrypted nor authenticated, for this machine only.",
    ),
    click.option("--allow-remote-plain", is_flag=True, help="With --plain: leave this machine all the same."),
    click.argument("destination", callback=_read_destination, metavar="HOST:PORT"),
)


def _seconds(name: str, help: str) -> Callable[[Any], Any]:
    return click.option(name, type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help=help)


_DIALECT: tuple[Callable[[Any], Any], ...] = (
    click.option("--repeat-requests", is_flag=True, help="With --dialect batch: the peer knows requests to repeat."),
    click.option("--no-secret", is_flag=True, help="With --dialect digest: nobody has a secret; anybody can forge."),
    click.option(
        "--secrets",
        type=click.Path(),
        metavar="FILE",
        help="With --dialect digest: file with a line `UUID SECRET` for the listener.",
    ),
    click.option("--uuid", metavar="UUID", help="With --dialect digest: the own UUID.  [default: a new one]"),
    click.option(
        "--ping-steps",
        type=click.IntRange(2, 3),
        metavar="2|3",
        help="With --dialect digest: PING, PONG, or PING, PANG, PONG.  [default: 3]",
    ),
    click.option(
        "--ping-packet-count",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="With --dialect: pings in a row that may stay unanswered.",
    ),
    _seconds("--ping-interval", "With --dialect: how long to wait between two pings that keep the session."),
    _seconds("--delivery-timeout", "With --dialect: after which what was not acknowledged is sent again."),
    click.option(
        "--dialect",
        type=click.Choice(_DIALECTS),
        help="Talk to an older listener. Neither dialect encrypts; a file is sent as one message.",
    ),
)
