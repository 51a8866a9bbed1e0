"""Make every seeded mistake in a copy of the project, run the quick scale, and ask the claims."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ntkstudy.claims.mutations import MEASURED, MISTAKES, Mistake, compare, read_mistakes
from ntkstudy.data.storage import replacing
from ntkstudy.plan.digest import code_digest

PARTS = ("Snakefile", "config", "envs", "profiles", "report", "resources", "rules", "scripts")


def copy_parts(project: Path, folder: Path) -> Path:
    """What a run needs, without results and environments."""
    folder.mkdir()
    for part in PARTS:
        source = project / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    return folder


def judge(copy: Path, experiments: Sequence[str], cores: int) -> list[dict]:
    """Judged claims of a quick run of some experiments in a copy; none if the run failed."""
    call = [
        *[sys.executable, "-m", "snakemake", "results/quick/claims.json", "--cores", str(cores)],
        *["--configfile", "config/quick.yaml", "--config", f"only=[{','.join(experiments)}]"],
    ]
    done = subprocess.run(call, cwd=copy, capture_output=True, text=True)
    if done.returncode:
        print("\n".join((done.stdout + done.stderr).splitlines()[-20:]))
        return []
    return json.loads((copy / "results/quick/claims.json").read_text())["claims"]


def measure(project: Path, mistakes: Sequence[Mistake], cores: int) -> list[dict]:
    """Run without any mistake, then with each, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        experiments = sorted({name for each in mistakes for name in each.experiments})
        source = copy_parts(project, Path(folder, "clean"))  # later edits are not part of this
        clean = judge(source, experiments, cores)
        if not clean:
            sys.exit("The run without a mistake failed.")
        rows = []
        for mistake in mistakes:
            # With the results of the clean run: what the mistake does not touch stays.
            start, copy = time.monotonic(), shutil.copytree(source, Path(folder, mistake.name))
            mistake.apply(copy)
            row = compare(mistake, clean, judge(copy, mistake.experiments, cores))
            shutil.rmtree(copy)
            seconds = time.monotonic() - start
            print(f"{mistake.name}: {'caught' if row['caught'] else 'MISSED'} ({seconds:.0f} s)")
            for claim in row["claims"]:
                print(f"  {claim['id']}: {claim['clean']} -> {claim['mutated']}", flush=True)
            rows.append(row)
    return rows


def main() -> int:
    """Measure all mistakes, or some, and write the result of all; 1 if one was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("names", nargs="*", help="some mistakes; nothing is written then")
    arguments = parser.parse_args()
    project = Path(__file__).parents[1]
    mistakes, digest = read_mistakes(project / MISTAKES), code_digest(project)
    chosen = [each for each in mistakes if each.name in arguments.names or not arguments.names]
    rows = measure(project, chosen, arguments.cores)
    caught = sum(row["caught"] for row in rows)
    print(f"{caught} of {len(rows)} mistakes caught")
    if not arguments.names:
        with replacing(project / MEASURED) as temporary:
            text = json.dumps({"digest": digest, "mistakes": rows}, indent=1, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")
    return int(caught < len(rows))


if __name__ == "__main__":
    sys.exit(main())
