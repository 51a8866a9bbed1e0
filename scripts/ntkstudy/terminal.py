"""What a run shows: lines of its jobs, and on a terminal below them a bar and what is at work.

Needs Python alone.
"""

import csv
import io
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

COUNT = re.compile(r"([a-z_]\w*)\s+(\d+)$")
FINISHED = re.compile(r"Finished jobid: \d+ \(Rule: (\w+)\)")
STEP = re.compile(r"step \d+ of \d+, loss |at work: ")
TARGETS = {"all", "experiments"}
REDRAW_S = 1.0
_DIM, _BOLD, _PLAIN, _CLEAR = "\x1b[2m", "\x1b[1m", "\x1b[0m", "\r\x1b[K"


def usual_seconds(folder: Path) -> dict[str, float]:
    """Mean time of the jobs of each rule, from the benchmark records of earlier runs.

    Args:
        folder: with <rule>/... .tsv and <rule>.tsv; it need not exist.
    """
    times: dict[str, list[float]] = {}
    for file in folder.rglob("*.tsv"):
        rule = file.relative_to(folder).with_suffix("").parts[0]
        # A damaged record tells nothing.
        with suppress(KeyError, TypeError, ValueError, csv.Error), file.open(newline="") as lines:
            for record in csv.DictReader(lines, delimiter="\t"):
                times.setdefault(rule, []).append(float(record["s"]))
    return {rule: sum(each) / len(each) for rule, each in times.items()}


class Forecast:
    """Seconds that are left, as far as rules were run before.

    Args:
        usual: seconds of a job by rule.
        cores: jobs side by side, one a core.
    """

    def __init__(self, usual: Mapping[str, float], cores: int):
        self.usual, self.cores, self.left = usual, cores, Counter[str]()
        self._in_table = False

    def feed(self, line: str) -> None:
        """Read a line of Snakemake's output: a row of its table of jobs, or the end of a job."""
        if line.startswith(("Job stats:", "total ")):
            self._in_table = line.startswith("Job stats:")
        elif self._in_table and (row := COUNT.match(line)) and row[1] not in TARGETS:
            self.left[row[1]] += int(row[2])
        elif ended := FINISHED.match(line):
            self.left[ended[1]] -= 1

    @property
    def seconds(self) -> float | None:
        """None if nothing is known of most jobs that are left."""
        left = {rule: count for rule, count in self.left.items() if count > 0}
        known = {rule: count for rule, count in left.items() if rule in self.usual}
        if not left or 2 * sum(known.values()) < sum(left.values()):
            return None
        total = sum(count * self.usual[rule] for rule, count in known.items())
        return total * sum(left.values()) / sum(known.values()) / self.cores


class Display:
    """Shows a run on a stream: use it as a context, and `show` every line of Snakemake's output.

    Args:
        stream: standard output.
        forecast: of the time that is left.
        quiet: whether to show trouble and no jobs, as for logs.
    """

    def __init__(self, stream: io.TextIOBase, forecast: Forecast, *, quiet: bool = False):
        self.stream, self.forecast, self.quiet = stream, forecast, quiet
        self.live = not quiet and stream.isatty() and os.environ.get("TERM") != "dumb"
        self.colours = self.live and not os.environ.get("NO_COLOR")
        self._done, self._total, self._step = 0, 0, ""
        self._running: list[tuple[str, float]] = []
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Display":
        if self.live:
            self._ticker.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self.live:
            self._ticker.join()
            self._write(_CLEAR)

    def show(
        self, line: str, text: str | None, done: int, total: int, running: list[tuple[str, float]]
    ) -> None:
        """Take a line of Snakemake's output.

        Args:
            line: as it came.
            text: what is to be shown for it, or None.
            done: jobs that have ended.
            total: jobs of the run.
            running: what is at work, each with the time at which it began.
        """
        self.forecast.feed(line)
        with self._lock:
            self._done, self._total, self._running = done, total, running
            if STEP.match(line):
                self._step = line
            elif text is not None:
                self._step = ""
                self._tell(text)
            self._draw()

    def say(self, text: str) -> None:
        """Show a line of our own, above the bar; a handler of signals may call it."""
        with self._lock:
            self._tell(text)

    def _tell(self, text: str) -> None:
        job = re.match(r"\[ *\d+/\d+\] (started|finished) ", text)
        if job and self.quiet:
            return
        if job and self.colours:
            text = f"{_DIM}{text}{_PLAIN}" if job[1] == "started" else text
        self._write(f"{_CLEAR if self.live else ''}{text}\n")

    def _tick(self) -> None:
        while not self._ended.wait(REDRAW_S):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        if not self.live or not self._total:
            return
        columns = shutil.get_terminal_size().columns - 1
        filled = round(20 * self._done / self._total)
        bar = "█" * filled + "·" * (20 - filled)
        parts = [f"{bar} {self._done}/{self._total}"]
        if (left := self.forecast.seconds) is not None:
            parts.append(f"about {clock(left)} left")
        now = time.monotonic()
        parts += [f"{name} ({clock(now - start)})" for name, start in self._running[:2]]
        if len(self._running) > 2:
            parts.append(f"{len(self._running) - 2} more")
        if self._step:
            parts.append(self._step)
        text = "  ".join(parts)[:columns]
        if self.colours:
            text = f"{_BOLD}{text[:20]}{_PLAIN}{text[20:]}"
        self._write(f"{_CLEAR}{text}")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def clock(seconds: float) -> str:
    """Seconds as people read them while they wait: 42 s, 4 min, 1 h 04 min.

    Examples:
        >>> clock(41.7), clock(200.0), clock(3900.0)
        ('42 s', '3 min', '1 h 05 min')
    """
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
