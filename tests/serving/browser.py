"""A person without a browser: one server process of ours, and HTTP with cookies and forms."""

from __future__ import annotations

import http.cookiejar
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

password = "projector-lamp-9"
command = [sys.executable, "-c", "from webapp.cli import main; main()"]


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """A running `projectionist serve`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.log = log

    def stop(self) -> float:
        """Sends SIGTERM and returns after how many seconds the server had ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        return time.monotonic() - started

    def workers(self) -> list[int]:
        """The pids of its worker processes."""
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, check=True)
        return [int(pid) for pid in found.stdout.split()]


@contextmanager
def serving(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that answers, with its home in the folder and `admin` in it; stopped at the end."""
    port, log = free_port(), folder / "server.log"
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PROJECTIONIST_")}
    variables |= {
        "PROJECTIONIST_HOME": str(folder / "home"),
        "PROJECTIONIST_ADMIN_PASSWORD": password,
        "PORT": str(port),
    }
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "serve", *arguments], env={**variables, **(environment or {})},
                                   stdout=output, stderr=subprocess.STDOUT)  # fmt: skip
        server = Server(process, port, log)
        try:
            wait_until_ready(server)
            yield server
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def wait_until_ready(server: Server) -> None:
    ends_at = time.monotonic() + 30
    while time.monotonic() < ends_at:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended:\n{server.log.read_text()}")
        try:
            with urllib.request.urlopen(f"{server.url}/healthz", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the server didn't answer:\n{server.log.read_text()}")


class Person:
    """Somebody with cookies."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def get(self, path: str) -> tuple[int, str]:
        """The status and text of a page, redirects followed."""
        return self._open(urllib.request.Request(self.server.url + path))

    def post(self, path: str, page: str, **fields: str) -> tuple[int, str]:
        """The same after sending a form that stands on `page`, with that page's token."""
        _, text = self.get(page)
        token = re.search(r'name="csrf_token" value="([^"]+)"', text)
        assert token, text
        data = urllib.parse.urlencode({"csrf_token": token[1], **fields}).encode()
        return self._open(
            urllib.request.Request(self.server.url + path, data=data, headers={"Origin": self.server.url})
        )

    def _open(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with self._opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def save(self, path: str, target: Path) -> int:
        """Downloads into a file, piece by piece; the number of bytes."""
        with self._opener.open(self.server.url + path, timeout=120) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file)
        return target.stat().st_size

    def log_in(self, username: str = "admin") -> None:
        """Logs in, or fails the test."""
        status, text = self.post("/login", "/login", username=username, password=password, next="/")
        assert status == 200 and "Log out" in text, text[:2000]
