"""Run steps in a process of their own: one that hangs, fails or dies harms no other.

A process goes through the steps one after another. It is replaced after an error, because nothing
that it computes on an accelerator later could be trusted; running out of memory is no such error.
"""

import multiprocessing
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection

import torch

from .measuring import use_full_float32
from .parts import Part, Row, Setting, Skip, Step

START_SECONDS = 60.0  # for imports; a process that is not ready by then is given up
AGREEMENT = 1e-4  # between the norms of what two methods computed in float32
PASSED, SKIPPED, FAILED = "passed", "skipped", "failed"
OTHER = "other result"  # of a peer
NO_MEMORY, NO_TIME = "out of memory", "out of time"
HARMLESS = (PASSED, SKIPPED, NO_MEMORY)  # the process goes on
_MEMORY_WORDS = ("out of memory", "OUT_OF_MEMORY", "RESOURCE_EXHAUSTED", "ALLOC_FAILED")


@dataclass
class Outcome:
    """How a step ended, why it did not pass, what it took, and its rows."""

    status: str
    problem: str = ""
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)


def run_step(step: Step, setting: Setting) -> Outcome:
    """Run a step here; errors become outcomes."""
    start = time.perf_counter()
    try:
        outcome = _judged(step.run(setting))
    except Skip as reason:
        outcome = Outcome(SKIPPED, str(reason))
    except Exception as error:  # a failed part is a result, whatever made it fail
        memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
        memory = memory or any(word in str(error) for word in _MEMORY_WORDS)
        place = traceback.extract_tb(error.__traceback__)[-1]
        problem = f"{type(error).__name__}: {error} ({place.name}, line {place.lineno})"
        outcome = Outcome(NO_MEMORY if memory else FAILED, problem)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _judged(rows: list[Row]) -> Outcome:
    """Failed if a check is beyond its tolerance."""
    bad = [row for row in rows if not row.get("passed", True)]
    if not bad:
        return Outcome(PASSED, rows=rows)
    problem = f"{len(bad)} of {len(rows)} checks, the first: {bad[0]['check']} ({bad[0]['dtype']})"
    return Outcome(FAILED, problem, rows=rows)


def run_parts(
    parts: Sequence[Part], setting: Setting, deadline: float
) -> Iterator[tuple[Part, dict]]:
    """Every part and its record, until the deadline (of time.monotonic); what is left is left."""
    steps = _outcomes([step for part in parts for step in part.steps], setting, deadline)
    for part in parts:
        found = dict(zip((step.label for step in part.steps), steps, strict=False))
        if len(found) < len(part.steps):
            return
        yield part, record(part, found)


def record(part: Part, outcomes: dict[str, Outcome]) -> dict:
    """What the file keeps of a part; the times of peers are put beside those of `ours`."""
    steps = {step.label: step for step in part.steps}
    ours = outcomes.get("ours")
    for label, outcome in outcomes.items():
        if ours and label != "ours" and ours.status == outcome.status == PASSED:
            _compare(ours.rows[0], outcome)
    confirmed = any(steps[label].peer and o.status == PASSED for label, o in outcomes.items())
    bad = [label for label, o in outcomes.items() if _is_bad(steps[label].peer, o, confirmed)]
    return {
        "title": part.title,
        "status": FAILED if bad else PASSED,
        "problem": "; ".join(f"{label}: {outcomes[label].problem}" for label in bad),
        "steps": {label: asdict(outcome) for label, outcome in outcomes.items()},
    }


def _is_bad(peer: bool, outcome: Outcome, confirmed: bool) -> bool:
    """Whether a step fails its part.

    A peer does not where it crashes, or where another peer agrees with ours.
    """
    if peer:
        return outcome.status == OTHER and not confirmed
    return outcome.status in (FAILED, NO_MEMORY, NO_TIME)


def _compare(ours: Row, peer: Outcome) -> None:
    """Ratio of the times, and whether both computed the same."""
    theirs = peer.rows[0]
    theirs["ratio"] = theirs["seconds"] / ours["seconds"]
    if not abs(theirs["norm"] - ours["norm"]) <= AGREEMENT * abs(ours["norm"]):
        peer.status = OTHER
        peer.problem = f"its result has the norm {theirs['norm']:.7g}, ours {ours['norm']:.7g}"


def _outcomes(steps: list[Step], setting: Setting, deadline: float) -> Iterator[Outcome]:
    """Outcomes in order, from as many processes as it takes."""
    while steps and time.monotonic() < deadline:
        done = 0
        for outcome in _from_one_process(steps, setting, deadline):
            done += 1
            yield outcome
        if not done:
            return
        steps = steps[done:]


def _from_one_process(steps: list[Step], setting: Setting, deadline: float) -> Iterator[Outcome]:
    """Outcomes up to the first after which a process is not to be trusted."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(there, steps, setting), daemon=True)
    process.start()
    there.close()
    try:
        ready = _receive(here, START_SECONDS, deadline)
        if ready is None or ready.status != PASSED:
            if ready:
                yield Outcome(FAILED, f"no process for it: {ready.problem}")
            return
        for step in steps:
            outcome = _receive(here, step.seconds * setting.patience, deadline)
            if outcome:
                yield outcome
            if outcome is None or outcome.status not in HARMLESS:
                return
    finally:
        process.kill()
        process.join(timeout=10)


def _receive(connection: Connection, seconds: float, deadline: float) -> Outcome | None:
    """The next outcome, also if there is none within the step's time; None at the deadline."""
    left = deadline - time.monotonic()
    try:
        if connection.poll(max(0.0, min(seconds, left))):
            return connection.recv()
    except EOFError:
        return Outcome(FAILED, "its process died")
    if left < seconds:
        return None
    return Outcome(NO_TIME, f"more than {seconds:g} s", seconds)


def _work(connection: Connection, steps: list[Step], setting: Setting) -> None:
    """What the process does: warm the device up, then step by step until one does harm."""
    use_full_float32()
    _warm_up(setting.place)
    connection.send(Outcome(PASSED))
    for step in steps:
        outcome = run_step(step, setting)
        connection.send(outcome)
        if outcome.status not in HARMLESS:
            return


def _warm_up(place: torch.device) -> None:
    """Make the device's context and the handles of its libraries."""
    square = torch.ones(64, 64, device=place)
    torch.linalg.eigvalsh(square @ square)
    torch.nn.functional.conv2d(square[None, None], torch.ones(1, 1, 3, 3, device=place))
