"""
Chromium, without a screen, for tests.
"""

from __future__ import annotations

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


def browser(profile: Path, *arguments: str) -> Any:
    """
    A browser that trusts any certificate. It blocks.

    @param profile: a directory of its own.
    @param arguments: of its command line, besides.
    @raise SkipTest: when there is none.
    """
    chromium, driver = which("chromium"), which("chromedriver")
    if chromium is None or driver is None:
        raise SkipTest("there is no chromium with its chromedriver")
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
