"""
A browser for tests: Chromium without a screen, by its driver. It waits for what it is told to do, so that it belongs
in a thread.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

#: It does not play, update itself, or talk to anybody but us.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
#: s that anything may take.
PATIENCE = 30.0


def missing() -> str | None:
    """Why there is no browser on this machine; None when there is one."""
    for name in ("chromium", "chromedriver"):
        if shutil.which(name) is None:
            return f"{name} is not installed (Debian: apt-get install chromium chromium-driver)"
    return None


@contextmanager
def browser(*flags: str) -> Iterator[Any]:
    """
    One with a profile of its own, which is forgotten.

    @param flags: further ones.
    @return: selenium's driver.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with TemporaryDirectory(prefix="hypermail-chromium-", ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", *flags):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            driver.set_page_load_timeout(PATIENCE)
            yield driver
        finally:
            driver.quit()


def until(driver: Any, found: Callable[[Any], Any]) -> Any:
    """
    Wait until the page is so.

    @param found: called with the driver, again and again, until it gives something true.
    @return: that.
    @raise selenium.common.exceptions.TimeoutException: when it is not so in time.
    """
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, PATIENCE, 0.1, [StaleElementReferenceException]).until(found)


def draw_as(driver: Any, width: int, height: int, scale: float = 1.0, *, dark: bool = False) -> None:
    """
    The size of what is seen, in pixels of CSS.

    @param scale: pixels for each of those.
    @param dark: what the person in front of it likes.
    """
    size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
