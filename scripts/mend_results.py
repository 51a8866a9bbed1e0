"""Read every file of a scale that carries a checksum, and make anew what is damaged.

    python scripts/mend_results.py [--scale quick]     (or `make mend SCALE=quick`)

A damaged file is made by its own job again, from the record that the job left, and by no other: it
comes out as it was, so that nothing that was made of it is older than it. A file that is missing
needs no mending; the next run makes it.
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
                    check_seal(path.with_name(f"{name}.csv"), "table")
        except StorageError as error:
            yield path, str(error)


def records_by_output(results: str | Path) -> dict[Path, Path]:
    """The record of the job that makes a file, by its path."""
    found = {}
    for record in sorted(Path(results, "logs").rglob("*.json")):
        for files in json.loads(record.read_text(encoding="utf-8"))["output"].values():
            for file in [files] if isinstance(files, str) else files:
                found[Path(file)] = record
    return found


def mend(results: str | Path) -> int:
    """Make damaged files anew, saying so; the number of those that could not be."""
    records, failed, made = records_by_output(results), 0, set()
    for path, problem in damaged_files(results):
        print(problem)
        output = path if path in records else path.with_name(CONTENTS)
        if output in made:
            continue
        if output not in records or not run_record(records[output], results):
            print(f"{path}: has no job that could make it anew; delete it and run again")
            failed += 1
            continue
        made.add(output)
        print(f"{output}: made anew")
    if not made and not failed:
        print(f"{results}: every file is as it was written")
    return failed


def run_record(record: Path, results: str | Path) -> bool:
    """Run a job again from its record; whether it ended well."""
    rule = record.relative_to(Path(results, "logs")).parts[0].removesuffix(".json")
    script = Path(__file__).with_name(f"{rule}.py")
    threads = str(json.loads(record.read_text(encoding="utf-8"))["threads"])
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    call = [sys.executable, str(script), str(record)]
    return subprocess.run(call, env=os.environ | limits, check=False).returncode == 0


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
