"""
Chromium, without a screen, for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any
from unittest import SkipTest

#: What keeps it from looking for anybody but who is asked for.
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: s that a page has to load.
PATIENCE = 30


def browsers() -> tuple[str, str]:
    """
    The programs: a browser, and what drives it.

    @raise SkipTest: when they are not there.
    """
    chromium, driver = which("chromium"), which("chromedriver")
    if chromium is None or driver is None:
        raise SkipTest("there is no chromium with its chromedriver")
    return chromium, driver


def browser(profile: Path, *arguments: str) -> Any:
    """
    A browser that trusts any certificate. It blocks.

    @param profile: a directory of its own.
    @param arguments: of its command line, besides.
    @raise SkipTest: when there is none.
    """
    chromium, driver = browsers()
    try:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        raise SkipTest("selenium is not installed") from None
    options = ChromeOptions()
    options.binary_location = chromium
    options.accept_insecure_certs = True
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (*_QUIET, f"--user-data-dir={profile.absolute()}", *arguments):
        options.add_argument(argument)
    found = Chrome(options=options, service=Service(driver))
    found.set_page_load_timeout(PATIENCE)
    return found


def complaints(of: Any) -> list[str]:
    """What the browser has found wrong with pages, since the last time."""
    return [entry["message"] for entry in of.get_log("browser") if entry["level"] in ("SEVERE", "ERROR")]


@contextmanager
def browsing(profile: Path, *arguments: str) -> Iterator[Any]:
    """A L{browser} that is closed in the end."""
    found = browser(profile, *arguments)
    try:
        yield found
    finally:
        found.quit()


def until(of: Any, found: Callable[[Any], Any]) -> Any:
    """
    Wait until a page is as it should be.

    @param found: called with the browser, again and again, until it gives something true.
    @return: that.
    @raise selenium.common.exceptions.TimeoutException: when it is not so in time.
    """
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(of, PATIENCE, 0.1).until(found)


def draw_as(of: Any, width: int, height: int, scale: float = 1.0, *, dark: bool = False) -> None:
    """
    How large a window is, and what the person in front of it likes.

    @param width: pixels of CSS.
    @param scale: pixels for each of those.
    """
    size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    of.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    of.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
