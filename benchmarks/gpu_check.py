"""Check the library on an accelerator, and time it there against torch.func.

    python benchmarks/gpu_check.py                    # all that is not yet done on this card
    python benchmarks/gpu_check.py --part dense       # one part, done or not; --list names them
    python benchmarks/gpu_check.py --device cpu --smoke --results DIR   # try it anywhere, tiny
    python benchmarks/gpu_check.py --table            # write docs/gpu.md from what is there

Ends within 4 minutes; a second call goes on with what failed or is missing. Exit status 1 if a part
failed or is missing, 2 if there is no such device.
"""

import argparse
import sys
import time
from pathlib import Path

LIMIT = 225.0  # seconds for all parts; with start and end less than 4 minutes
START = time.monotonic()


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and run what it asks for."""
    from gpu import results, table
    from gpu.all_parts import PARTS
    from gpu.parts import Setting

    options = _read(arguments, results.RESULTS, list(PARTS))
    if options.list:
        for part in PARTS.values():
            print(f"{part.name:15} {sum(s.seconds for s in part.steps):4.0f} s  {part.title}")
        return 0
    if not options.table:
        setting = Setting(options.device, options.smoke)
        if not setting.exists():
            print(f"device: {options.device!r} is not there; use --device cpu --smoke to try this")
            return 2
        failed = check(setting, options.results, options.part)
    if options.table or not (options.smoke or options.device == "cpu"):
        found = results.newest(options.results, device="cuda", smoke=False)
        options.docs.write_text(table.page(list(PARTS.values()), found))
    return 0 if options.table else int(failed)


def _read(arguments: list[str] | None, folder: Path, names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", action="append", choices=names, default=[], metavar="NAME")
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--list", action="store_true", help="names of the parts and their limits")
    parser.add_argument("--table", action="store_true", help="only write the page")
    parser.add_argument("--results", type=Path, default=folder, metavar="DIR")
    parser.add_argument("--docs", type=Path, default=folder.parents[2] / "docs" / "gpu.md")
    return parser.parse_args(arguments)


def check(setting, folder: Path, names: list[str]) -> bool:
    """Run the named parts, or all that have not passed; whether one failed or is missing."""
    from gpu import results
    from gpu.all_parts import PARTS
    from gpu.running import PASSED, run_parts

    here = results.machine(setting)
    found = results.newest(folder, **here) or results.begin(folder, here)
    done = [name for name, record in found["parts"].items() if record["status"] == PASSED]
    todo = names or [name for name in PARTS if name not in done]
    print(f"{here['card']}: {len(todo)} parts to run, {len(done)} have passed", flush=True)
    for part, record in run_parts([PARTS[name] for name in todo], setting, START + LIMIT):
        found["parts"][part.name] = record | {"code": results.code()}
        results.save(found)
        print(f"{record['status']:7} {part.name} {record['problem']}", flush=True)
    missing = [n for n in names or PARTS if n not in found["parts"]]
    wrong = [n for n in names or PARTS if found["parts"].get(n, {}).get("status") != PASSED]
    print(f"{found['path']}: {len(wrong)} failed or missing", *missing)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
