"""Chromium, or a browser made from it, as installed on the machine."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

VARIABLE = "TEST_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@functools.cache
def _works(path: str) -> bool:
    # Ubuntu's package chromium-browser is only a script that says "install the snap".
    try:
        return subprocess.run([path, "--version"], check=False, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def forget() -> None:
    """Look anew: something was installed meanwhile."""
    _works.cache_clear()


def executable() -> str | None:
    """The path of a browser that starts (TEST_CHROMIUM's if that is set), or None."""
    given = os.environ.get(VARIABLE)
    names = (given,) if given else NAMES
    for name in names:
        path = shutil.which(name)
        if path is not None and _works(path):
            return path
    return None
