"""Chromium without a window, for pages read from files or from loopback."""

import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""Where it is; `None` where it is not installed."""

REQUIRED = os.environ.get("REQUIRE_BROWSER", "") not in {"", "0"}
"""Set where the tests in a browser must not be left out: then they fail without one."""


def header() -> str:
    """Whether tests marked `browser` run here."""
    if CHROMIUM is not None:
        return f"Chromium: tests marked `browser` run in {CHROMIUM}"
    verdict = "FAIL (REQUIRE_BROWSER is set)" if REQUIRED else "DO NOT RUN"
    return f"Chromium: tests marked `browser` {verdict}: none is installed (Debian's package is chromium)"


def dom(page: Path, profile: Path, fragment: str = "") -> str:
    """The document after the page's scripts ran, as HTML; the network is cut off."""
    return dom_at(page.as_uri() + fragment, profile, settled_ms=3_000)  # messages between frames have come by then


def dom_at(address: str, profile: Path, *, settled_ms: int) -> str:
    """The same of a page at an address; of the network there is loopback alone.

    `settled_ms`: how long the page believes it has run; time stands still for it while answers are under way.
    """
    assert CHROMIUM is not None, header()
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--window-size=1280,900",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--virtual-time-budget={settled_ms}",
        f"--user-data-dir={profile}",
        "--dump-dom",
    ]
    done = subprocess.run([CHROMIUM, *options, address], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def title(html: str) -> str:
    found = re.search(r"<title>(.*?)</title>", html)
    assert found
    return unescape(found[1])
