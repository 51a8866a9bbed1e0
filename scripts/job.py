"""Run a rule's script: inside Snakemake with its log, or alone on one cell for debugging.

Every script ends with `run_job(main, globals())`. Snakemake runs it with an object `snakemake`; its
names are handed to `main(input, output, cfg, ...)` as plain dictionaries. Each job first writes
<log>.json, and `python scripts/<script>.py <log>.json [--output-dir DIR]` runs that very job again,
outside Snakemake, where a debugger works.
"""

import argparse
import contextlib
import inspect
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from ntkflow.errors import NtkflowError, first_words
from ntkstudy.data.storage import describe_failure
from ntkstudy.plan.devices import hold_device
from ntkstudy.processes import Stopped, stopping_cleanly

LESS_MEMORY = "allowed: more memory, a smaller seeds_per_job, or fewer jobs at once (CORES=1)"


def run_job(main: Callable[..., None], namespace: dict[str, Any]) -> None:
    """Call `main` as Snakemake or the command line asks; nothing happens on a plain import."""
    if "snakemake" in namespace:
        _run_logged(main, *_read_snakemake(namespace["snakemake"]))
    elif namespace["__name__"] == "__main__":
        _call(main, _read_command_line(main.__doc__ or sys.argv[0]))


def _read_snakemake(snakemake) -> tuple[dict[str, Any], Path]:
    record = {
        "input": {name: _plain(files) for name, files in snakemake.input.items()},
        "output": {name: _plain(files) for name, files in snakemake.output.items()},
        "cfg": snakemake.params.cfg,
        "threads": snakemake.threads,
        "gpu": int(snakemake.resources.get("gpu", 0)),
    }
    return record, Path(str(snakemake.log[0]))


def _plain(files) -> str | list[str]:
    return files if isinstance(files, str) else [str(file) for file in files]


def _run_logged(main: Callable[..., None], record: dict[str, Any], log: Path) -> None:
    with _open_log(log, record) as stream, _tee(stream):
        try:
            with stopping_cleanly():
                _call(main, record)
        except Stopped as stopped:
            _say(f"The job was {stopped} and wrote nothing.")
            sys.exit(1)
        except NtkflowError as error:
            # The user's mistake: no traceback, one line, the last of the log.
            _say(f"{type(error).__name__}: {error}")
            sys.exit(1)
        except Exception as error:
            if needs_memory(error):
                _say(f"MemoryError: {first_words(error)}; {LESS_MEMORY}")
            else:
                traceback.print_exc()
            sys.exit(1)


def _say(line: str) -> None:
    """A line on standard error in one write: jobs side by side share it."""
    sys.stderr.write(f"{line}\n")


def needs_memory(error: BaseException) -> bool:
    """Whether memory was short: Python, NumPy, torch and CUDA each say so in their own way."""
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in said or "not enough memory" in said or "allocate memory" in said
    )


def _open_log(log: Path, record: dict[str, Any]) -> io.RawIOBase:
    """The log without a buffer, so that no text is left to write when the disk is full."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.with_suffix(".json").write_text(json.dumps(record, indent=1))
        return open(log, "wb", buffering=0)
    except OSError as error:
        _say(f"StorageError: {log}: {describe_failure(error, log.parent)}")
        sys.exit(1)


def _call(main: Callable[..., None], record: dict[str, Any]) -> None:
    """`main` with the names that its signature asks for; torch set up if it takes a device."""
    wanted = inspect.signature(main).parameters
    if "device" in wanted:
        record = record | {"device": _prepare_torch(record["threads"], record["gpu"])}
    main(**{name: record[name] for name in wanted})


def _prepare_torch(threads: int, gpu: int) -> str:
    if gpu:
        hold_device()
    import torch

    # Sums of MKL do not depend on addresses then, which they do on some processors.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    torch.set_num_threads(threads)
    # Saturated softmaxes and decayed weights fall below 1e-38, where a CPU is four times slower.
    torch.set_flush_denormal(True)
    # Kernels lose three digits in TF32.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    return "cuda" if gpu and torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def _tee(stream) -> Iterator[None]:
    """Send standard output and error to the log and where they went before."""
    out, err = _Tee(stream, sys.stdout), _Tee(stream, sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


class _Tee(io.TextIOBase):
    """A text stream that writes to another one and to a log."""

    def __init__(self, log: io.RawIOBase, stream: TextIO):
        self._log, self._stream = log, stream

    def write(self, text: str) -> int:
        # A full disk is reported by the job's results, not by its log.
        with contextlib.suppress(OSError):
            self._log.write(text.encode())
        # Nobody reads the other stream where the run was killed.
        with contextlib.suppress(BrokenPipeError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._stream.flush()


def _read_command_line(description: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("job", help="the <log>.json that a run of this job left")
    parser.add_argument("--output-dir", help="write the outputs here instead of over the results")
    arguments = parser.parse_args()
    record = json.loads(Path(arguments.job).read_text())
    if arguments.output_dir:
        os.makedirs(arguments.output_dir, exist_ok=True)
        folder = Path(arguments.output_dir)
        record["output"] = {name: _moved(files, folder) for name, files in record["output"].items()}
    return record


def _moved(files: str | list[str], folder: Path) -> str | list[str]:
    if isinstance(files, str):
        return str(folder / Path(files).name)
    return [_moved(file, folder) for file in files]
