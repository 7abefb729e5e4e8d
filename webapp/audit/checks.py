"""What is checked of a trail's events, one after the other, and the report that the checks fill."""

from __future__ import annotations

from dataclasses import dataclass, field

from webapp.audit.formats.lines import BadLine, Line
from webapp.audit.manifest import Manifest
from webapp.audit.trail import Extent

most_shown = 10

checks = {
    "zip": "the ZIP file is whole, and nothing is hidden in it",
    "entries": "it holds the events file, then manifest.json, and nothing else",
    "manifest": "the manifest is complete and can be read",
    "checksum": "size and SHA-256 of the events file",
    "lines": "every line is an event with all its fields",
    "count": "the number of events",
    "order": "oldest first",
    "positions": "positions rise in every log, from the first to the last that the manifest gives",
    "versions": "versions rise in every stream",
}
"""Every check by its name, in the order in which they are made."""


@dataclass(slots=True)
class Report:
    """What was checked of a file, and what is wrong with it, in sentences."""

    file: str
    manifest: Manifest | None = None
    checked: list[str] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    _left_out: dict[str, int] = field(default_factory=dict)

    @property
    def is_intact(self) -> bool:
        """Whether everything was checked and nothing is wrong."""
        return not self.problems and len(self.checked) == len(checks)

    @property
    def unchecked(self) -> list[str]:
        """What could not be checked, since something before it is too broken."""
        return [name for name in checks if name not in self.checked]

    def begin(self, *names: str) -> None:
        """Notes that checks are being made."""
        self.checked += names

    def add(self, name: str, problem: str) -> None:
        """Notes what is wrong; of each check the first ten are kept, the others counted."""
        found = self.problems.setdefault(name, [])
        if len(found) < most_shown:
            found.append(problem)
        else:
            self._left_out[name] = self._left_out.get(name, 0) + 1

    def sentences(self, name: str) -> list[str]:
        """What is wrong by one check."""
        left_out = self._left_out.get(name, 0)
        return [*self.problems.get(name, ()), *([f"And {left_out:,} more like that."] if left_out else [])]


class EventChecks:
    """Follows the lines of an events file. Memory grows with the number of streams, by some 100 bytes each."""

    def __init__(self, report: Report, manifest: Manifest) -> None:
        self.report, self.manifest = report, manifest
        self.is_readable = True
        self._count = 0
        self._expected = {extent.log: extent for extent in manifest.logs}
        self._found: dict[str, Extent] = {}
        self._times: dict[str, str] = {}
        self._last: tuple[str, str, int] = ("", "", 0)
        self._versions: dict[int, int] = {}
        # Without a filter, a log that numbers its events without holes must be here whole.
        self._is_whole = not manifest.filter.get("values")

    def take(self, line: Line | BadLine) -> None:
        """One more line."""
        self._count += 1
        if isinstance(line, BadLine):
            self.report.add("lines", f"Line {line.number:,} is no event: {line.problem}.")
            self.is_readable = self.is_readable and not line.ends
            return
        self._check_order(line)
        self._check_position(line)
        self._check_version(line)

    def _check_order(self, line: Line) -> None:
        # A log's own order goes before its clock: an event counts as no earlier than the one before it in its log.
        at = self._times[line.log] = max(line.recorded_at, self._times.get(line.log, ""))
        place = at, line.log, line.position
        if place < self._last and line.log != self._last[1]:
            self.report.add("order", f"Line {line.number:,} ({_named(line)}, {at}) is older than the line before it.")
        self._last = place

    def _check_position(self, line: Line) -> None:
        expected = self._expected.get(line.log)
        found = self._found.get(line.log)
        if expected is None:
            if found is None:
                self.report.add("positions", f"Line {line.number:,} is of log “{line.log}”, which the manifest lacks.")
            expected = Extent(line.log, None, line.position, line.position)
        if found is None:
            found = self._found[line.log] = Extent(line.log, expected.strategy, expected.head, expected.settled_head)
            found.first_position = line.position
        before = found.last_position or 0
        if line.position <= before:
            what = "the same position again" if line.position == before else f"after {line.log}:{before}"
            self.report.add("positions", f"Line {line.number:,} holds {_named(line)}, {what}.")
        elif line.position > expected.settled_head:
            head = expected.settled_head
            self.report.add("positions", f"Line {line.number:,} holds {_named(line)}, beyond the log's head {head}.")
        elif self._is_whole and expected.strategy == "dense" and line.position != before + 1:
            gap = f"{line.log}:{before + 1}" + (f" to {line.position - 1}" if line.position > before + 2 else "")
            self.report.add("positions", f"Before line {line.number:,} ({_named(line)}) something is missing: {gap}.")
        found.last_position = line.position
        found.count += 1

    def _check_version(self, line: Line) -> None:
        if line.version is None or not line.aggregate_id:
            return
        stream = hash((line.log, line.aggregate_type, line.aggregate_id))
        before = self._versions.get(stream, 0)
        if line.version <= before:
            name = f"{line.aggregate_type}/{line.aggregate_id}"
            self.report.add(
                "versions", f"Line {line.number:,} holds version {line.version} of “{name}”, after version {before}."
            )
        self._versions[stream] = line.version

    def finish(self) -> None:
        """What can only be said once all lines have come; until then nothing counts as checked."""
        self.report.begin("lines", "count", "order", "positions", "versions")
        wanted = self.manifest.count
        if self._count != wanted:
            self.report.add("count", f"There are {self._count:,} events, and the manifest says {wanted:,}.")
        for log, expected in self._expected.items():
            found = self._found.get(log)
            if expected.count != (found.count if found else 0):
                number = found.count if found else 0
                self.report.add("count", f"Of log “{log}” there are {number:,} events, not {expected.count:,}.")
            if found is None:
                continue
            for which in ("first", "last"):
                mine, theirs = getattr(found, f"{which}_position"), getattr(expected, f"{which}_position")
                if mine != theirs:
                    self.report.add("positions", f"The {which} event of log “{log}” is at {mine}, not at {theirs}.")
            if self._is_whole and expected.strategy == "dense" and found.last_position != expected.settled_head:
                self.report.add("positions", f"Log “{log}” ends at {found.last_position}, not {expected.settled_head}.")


def _named(line: Line) -> str:
    return f"{line.log}:{line.position}"
