"""The page docs/gpu.md: what was measured on the newest card, or that nothing was."""

from collections.abc import Sequence

from .parts import Part

NOTHING = "not measured"
_HEAD = """# On a GPU

Made by `make gpu-check`; the numbers are in `benchmarks/results/gpu`. {where}

`make gpu-check PYTHON=python3` needs one CUDA device and a Python with torch >= 2.11, numpy and
scipy (and jax for one peer), no network and no environment of the project. It ends within 4
minutes; called again, it runs only what failed or is missing. `python3 benchmarks/gpu_check.py
--list` names the parts, `--part NAME` runs one of them.
"""
_CHECKS = """
## Results on the device against the CPU in float64

Error: the largest difference over the largest entry; of all checks of a part the one nearest to
its tolerance, which stands beside it. TF32 is off.

| part | checks | float64: error (tolerance) | float32: error (tolerance) |
|---|---|---|---|
"""
_TIMES = """
## Times and memory

Float32 without TF32 unless it says otherwise; seconds are medians after a warm-up, MB the peak
beyond network and inputs. Peers: torch.func's contraction of Jacobians and its products of a
vector and two Jacobians, as in its tutorial; the arc-cosine recursion on whole matrices; training
by `vmap(grad)` and by a jitted JAX scan. In brackets: the peer's time over ours.

| work | method | seconds | peak MB |
|---|---|---|---|
"""


def page(parts: Sequence[Part], results: dict | None) -> str:
    """The whole page."""
    records = results["parts"] if results else {}
    checks = [_check_row(part, records.get(part.name)) for part in parts if not part.measures]
    times = [row for part in parts if part.measures for row in _rows(part, records.get(part.name))]
    head = _HEAD.format(where=_where(results))
    return "".join([head, _CHECKS, *map(_line, checks), _TIMES, *map(_line, times)])


def _where(results: dict | None) -> str:
    if results is None:
        return "No card was there yet."
    versions = results["versions"]
    names = ", ".join(f"{name} {versions[name]}" for name in ("torch", "cuda", "jax"))
    return f"{results['card']}, driver {results['driver']}, {names}, {results['started'][:10]}."


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _check_row(part: Part, record: dict | None) -> list[str]:
    if record is None:
        return [part.title, *[NOTHING] * 3]
    (step,) = record["steps"].values()
    if not step["rows"]:
        return [part.title, f"{step['status']}: {step['problem']}", "", ""]
    count, bad = len(step["rows"]), sum(not row["passed"] for row in step["rows"])
    words = f"{count} passed" if not bad else f"{bad} of {count} failed"
    return [part.title, words, *(_worst(step["rows"], dtype) for dtype in ("float64", "float32"))]


def _worst(rows: list[dict], dtype: str) -> str:
    """The error nearest to its tolerance, or farthest beyond."""
    mine = [row for row in rows if row["dtype"] == dtype]
    if not mine:
        return ""
    if any(row["error"] is None for row in mine):
        return "an error, no number"
    worst = max(mine, key=lambda row: row["error"] / (row["tolerance"] or 1e-300))
    return f"{worst['error']:.1e} ({worst['tolerance']:.0e})"


def _rows(part: Part, record: dict | None) -> list[list[str]]:
    """A row for each method; the title stands once."""
    rows = [[step.label, *_numbers(step.label, record)] for step in part.steps]
    return [[part.title if index == 0 else "", *row] for index, row in enumerate(rows)]


def _numbers(label: str, record: dict | None) -> list[str]:
    if record is None:
        return [NOTHING] * 2
    step = record["steps"][label]
    if step["status"] != "passed":
        words = step["status"] if step["status"] == "out of memory" else step["problem"]
        return [words.split("\n")[0], ""]
    (row,) = step["rows"]
    ratio = f" ({row['ratio']:.3g} x)" if "ratio" in row else ""
    peak = "" if row["peak_mb"] is None else f"{row['peak_mb']:,.0f}"
    return [f"{row['seconds']:.3g}{ratio}", peak]
