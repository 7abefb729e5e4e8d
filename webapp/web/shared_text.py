"""A text that the processes of one server make in turn and all read, so that it's made once for all of them."""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_header = struct.Struct("<ddQ")  # made at, good until (both by the system's monotonic clock), bytes
_most_kept_seconds = 60.0
_times_its_cost = 5.0


class SharedText:
    """Make it before the fork. A text is made anew when it is older than `fresh_seconds`, or than five times what it took."""

    def __init__(self, fresh_seconds: float = 5.0) -> None:
        self._fresh_seconds = fresh_seconds
        self._file, path = tempfile.mkstemp(prefix="projectionist-")
        Path(path).unlink()  # it lives as long as somebody has it open
        weakref.finalize(self, os.close, self._file)
        self._lock = threading.Lock()

    def get(self, make: Callable[[], bytes]) -> bytes:
        """The text, made by `make` if none is fresh; whoever asks meanwhile waits for that one."""
        text = self._read()
        if text is not None:
            return text
        with self._locked():
            text = self._read()  # another may have made it while this one waited
            if text is None:
                text = self._make(make)
            return text

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One thread of one process: such locks are between processes, and end with the one that dies."""
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _make(self, make: Callable[[], bytes]) -> bytes:
        started = time.monotonic()
        text = make()
        made = time.monotonic()
        kept = min(_most_kept_seconds, max(self._fresh_seconds, _times_its_cost * (made - started)))
        file = self._file
        os.pwrite(file, _header.pack(0, 0, 0), 0)  # readers don't lock: none may see half a text
        os.pwrite(file, text, _header.size)
        os.pwrite(file, _header.pack(made, made + kept, len(text)), 0)
        return text

    def _read(self) -> bytes | None:
        file = self._file
        header = os.pread(file, _header.size, 0)
        if len(header) < _header.size:
            return None
        _, until, size = _header.unpack(header)
        if time.monotonic() >= until:
            return None
        text = os.pread(file, size, _header.size)
        return text if len(text) == size and os.pread(file, _header.size, 0) == header else None
