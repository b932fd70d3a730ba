"""
The C{hypermail} command: it reads arguments, runs the reactor, and turns what comes of it into an exit code.

0: everything was stored, or answered. 1: it was not, and standard error has the reason. 2: the arguments
make no sense. What it does is in L{hypermail.services.starter}.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click

from hypermail._version import __version__
from hypermail.errors import CredentialError, NotSupported, UsageError
from hypermail.link.congestion import names
from hypermail.options import Options
from hypermail.services.addresses import DEFAULT_STATUS_PORT, LOOPBACK, Destination, parse_destination, parse_port
from hypermail.services.call_options import calling, manner, read_rate

Work = Callable[[Any], Coroutine[Any, Any, bool]]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hypermail")
def main() -> None:
    """Files and messages over UDP, to a listener that `twistd hypermail` runs."""


@main.command()
@calling(60.0, "How long to wait for the listener, at the beginning and when it goes away.")
@click.argument("files", nargs=-1, type=click.Path(), metavar="[FILE]...")
@click.option("-r", "--recursive", is_flag=True, help="Send what is in directories, too.")
@click.option("-m", "--message", "messages", multiple=True, metavar="TEXT", help="Send a message.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option(
    "--congestion",
    type=click.Choice(names()),
    default=Options().congestion,
    show_default=True,
    help="Congestion control: how fast it may go.",
)
@click.option(
    "--max-rate", callback=read_rate, metavar="RATE", help="Bits per second, as 800k, 2.5M or 1G, to send at most."
)
def send(
    destination: Destination,
    files: tuple[str, ...],
    messages: tuple[str, ...],
    recursive: bool,
    quiet: bool,
    congestion: str,
    max_rate: float | None,
    timeout: float,
    trace: str | None,
    **security: Any,
) -> None:
    """
    Send files and messages; done when the other side has stored them.

    Directories keep their name and what is below them; symbolic links to files are sent as the files,
    those to directories are not followed, and empty directories are not sent. In a dialect each file is a message,
    without its name.
    """
    if not files and not messages:
        raise click.UsageError("nothing to send: name a FILE, or give --message TEXT")
    from hypermail.services import starter
    from hypermail.services.progress import Progress

    told = manner(max_rate=max_rate, **security)
    if told.dialect is not None and congestion != Options().congestion:
        raise click.UsageError("a dialect has a congestion control of its own: leave out --congestion")
    how = starter.Calling(
        destination=destination,
        timeout=timeout,
        traceDirectory=trace,
        settings=told.settings,
        dialect=told.dialect,
        congestion=congestion,
        maxRate=max_rate,
    )
    load = starter.Load(
        files=files, messages=tuple(text.encode("utf-8", "surrogateescape") for text in messages), recursive=recursive
    )

    def work(reactor: Any) -> Coroutine[Any, Any, bool]:
        from time import monotonic

        return starter.send(reactor, how, load, Progress(sys.stdout, sys.stderr, quiet=quiet, seconds=monotonic))

    run(work)


@main.command()
@calling(Options().connection_timeout, "How long opening the session may take.")
@click.option("-c", "--count", type=click.IntRange(min=0), default=4, show_default=True, help="How often; 0: no end.")
@click.option(
    "-i",
    "--interval",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait between two.",
)
def ping(
    destination: Destination,
    count: int,
    interval: float,
    timeout: float,
    trace: str | None,
    **security: Any,
) -> None:
    """Measure round trips to a listener."""
    from hypermail.services import starter

    told = manner(**security)
    how = starter.Calling(
        destination=destination,
        timeout=timeout,
        traceDirectory=trace,
        settings=told.settings,
        dialect=told.dialect,
    )
    run(lambda reactor: starter.ping(reactor, how, sys.stdout, times=count, interval=interval))


def _watched(context: click.Context, parameter: click.Parameter, value: str) -> Destination:
    try:
        return parse_destination(value) if ":" in value else Destination(LOOPBACK, parse_port(value, least=1))
    except UsageError as error:
        raise click.BadParameter(error.text, context, parameter) from None


@main.command()
@click.argument("where", default=str(DEFAULT_STATUS_PORT), callback=_watched, metavar="[PORT|HOST:PORT]")
@click.option("--once", is_flag=True, help="Show it once, as without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Show all there is, once, as JSON.")
def status(where: Destination, once: bool, as_json: bool) -> None:
    """
    Show the sessions of a listener that runs with --status-port.

    Every second anew, until Ctrl-C; 4701 of this machine unless another port is given.
    """
    import time

    from hypermail.services import watching

    print_any_character()
    try:
        watching.show(where, sys.stdout, once=once, as_json=as_json, sleep=time.sleep)
    except watching.NoStatus as error:
        click.echo(f"hypermail: {error.text}", err=True)
        sys.exit(1)


@main.command()
@click.argument("file", type=click.Path())
@click.option("--new", is_flag=True, help="Make one, with a key of its own; nothing is overwritten.")
@click.option("--name", metavar="NAME", help="With --new: a host name, an IP address, or any other name.")
@click.option("--pin", is_flag=True, help="Print only the pin, by which others know it.")
def identity(file: str, new: bool, name: str | None, pin: bool) -> None:
    """Make an identity, or tell about the one in FILE."""
    if new and pin:
        raise click.UsageError("--new prints the pin anyway: leave --pin out")
    if new and name is None:
        raise click.UsageError("--new needs a --name NAME")
    if name is not None and not new:
        raise click.UsageError("--name NAME is for --new: the name of an identity does not change")
    from datetime import UTC, datetime

    from hypermail.services import identities

    print_any_character()
    try:
        if name is not None:
            identities.make(file, name, sys.stdout, now=datetime.now(UTC))
        elif pin:
            identities.pin(file, sys.stdout)
        else:
            identities.describe(file, sys.stdout, now=datetime.now(UTC))
    except CredentialError as error:
        click.echo(f"hypermail: {error}", err=True)
        sys.exit(1)
    except UsageError as error:
        raise click.UsageError(error.text) from None


@main.command()
@click.argument("file", type=click.Path())
@click.option("--bcrypt", is_flag=True, help="Make a hash that queens of other programs know, too.")
def hive_key(file: str, bcrypt: bool) -> None:
    """Make a key for cells, in FILE, and print the line of the queen's configuration that lets them in."""
    import secrets

    from hypermail.hive import keys
    from hypermail.internet.credentials import writePrivate

    print_any_character()
    key = keys.new_key(secrets.token_bytes(keys.KEY_BYTES))
    try:
        hashed = keys.bcrypt(key) if bcrypt else keys.argon2id(key, secrets.token_bytes(keys.SALT_BYTES))
        writePrivate(f"{key}\n".encode(), file, "the key")
    except (CredentialError, NotSupported) as error:
        click.echo(f"hypermail: {error.text}", err=True)
        sys.exit(1)
    click.echo(f"connKey {hashed}")


def print_any_character() -> None:
    """File names may have characters that a terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")


def run(work: Work) -> None:
    """
    Run the reactor until some work is done, and exit.

    @param work: given the reactor, a coroutine of whether everything went well.
    @raise click.UsageError: when the work finds that the arguments make no sense.
    @raise SystemExit: otherwise, with the exit code.
    """
    from hypermail.services.running import Interrupted, runReactor

    print_any_character()
    try:
        succeeded = runReactor(work)
    except UsageError as error:
        raise click.UsageError(error.text) from None
    except Interrupted as error:
        click.echo("hypermail: interrupted", err=True)
        sys.exit(128 + error.signal)
    except Exception as error:
        from hypermail.errors import HypermailError

        if not isinstance(error, (HypermailError, OSError)):
            raise
        click.echo(f"hypermail: {error}", err=True)
        sys.exit(1)
    sys.exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
