"""Read every file of a scale that carries a checksum, and make anew what is damaged.

    python scripts/mend_results.py [--scale quick]     (or `make mend SCALE=quick`)

A damaged file is made by its own job again, from the record that the job left, and by no other: it
comes out as it was, so that nothing that was made of it is made again. A file that is missing needs
no mending: a run makes it, if it makes anything of it.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ntkflow.errors import ConfigurationError, StorageError
from ntkstudy.data.collected import CONTENTS, read_contents
from ntkstudy.data.seal import check_seal
from run_workflow import results_folder


def damaged_files(results: str | Path) -> Iterator[tuple[Path, str]]:
    """Files that are not as they were written, and tables that are listed but missing; and why."""
    for path in sorted(Path(results).rglob("*")):
        try:
            if path.suffix in (".h5", ".csv") and path.is_file():
                check_seal(path, "stage" if path.suffix == ".h5" else "table")
            elif path.name == CONTENTS:
                for name in read_contents(path):
                    if not path.with_name(f"{name}.csv").exists():
                        raise StorageError(f"{path}: its table {name} is missing")
        except StorageError as error:
            yield path, str(error)


def records_by_output(results: str | Path) -> dict[Path, Path]:
    """The record of the job that makes a file, by its path."""
    found = {}
    for path in sorted(Path(results, "logs").rglob("*.json")):
        for file in _files(path, "output"):
            found[file] = path
    return found


def mend(results: str | Path) -> int:
    """Make damaged files anew, saying so; the number of those that could not be."""
    records, damaged, failed = records_by_output(results), {}, 0
    for path, problem in damaged_files(results):
        print(problem)
        # Tables come from the job that lists them.
        output = path if path in records else path.with_name(CONTENTS)
        if output in records:
            damaged[output] = records[output]
        else:
            print(f"{path}: no job has left a record of making it; delete it and run again")
            failed += 1
    if not damaged and not failed:
        print(f"{results}: every file is as it was written")
    while damaged:
        # What others are made of comes first.
        output = next(each for each in damaged if not damaged.keys() & inputs(damaged[each]))
        if run_record(damaged.pop(output), results):
            print(f"{output}: made anew")
        else:
            print(f"{output}: could not be made anew; delete it and run again")
            failed += 1
    return failed


def inputs(record: Path) -> set[Path]:
    """Files that a job reads."""
    return set(_files(record, "input"))


def _files(record: Path, kind: str) -> list[Path]:
    named = json.loads(record.read_text(encoding="utf-8"))[kind].values()
    return [Path(file) for files in named for file in ([files] * isinstance(files, str) or files)]


def run_record(record: Path, results: str | Path) -> bool:
    """Run a job again from its record; whether it ended well."""
    rule = record.relative_to(Path(results, "logs")).parts[0].removesuffix(".json")
    script = Path(__file__).with_name(f"{rule}.py")
    threads = str(json.loads(record.read_text(encoding="utf-8"))["threads"])
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    call = [sys.executable, str(script), str(record)]
    done = subprocess.run(call, env=os.environ | limits, stdout=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def main() -> int:
    """Parse the command line, and mend."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="default", help="default, or an overlay of config/")
    try:
        return min(1, mend(results_folder(parser.parse_args().scale)))
    except ConfigurationError as error:
        print(error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
