import subprocess
import sys

import pytest
from requirements import closure, seeing_only
from workflow import PROJECT

REQUIRED = closure(PROJECT / "requirements.txt")


def test_what_is_required_needs_more():
    assert {"torch", "snakemake", "numpy", "sympy", "pydantic-core"} <= REQUIRED
    assert not {"pytest", "ruff", "snakefmt", "beartype", "hypothesis"} & REQUIRED


@pytest.mark.parametrize(
    ("module", "seen"),
    [
        ("pytest", False),
        ("beartype", False),
        ("numpy", True),
        # Snakemake's report needs it and does not say so.
        ("pygments", True),
    ],
)
def test_only_what_is_required_can_be_imported(tmp_path, module, seen):
    call = [sys.executable, "-c", f"import {module}"]
    done = subprocess.run(call, env=seeing_only(REQUIRED, tmp_path), capture_output=True, text=True)
    assert (done.returncode == 0) == seen
    assert (f"No module named '{module}'" in done.stderr) == (not seen)
