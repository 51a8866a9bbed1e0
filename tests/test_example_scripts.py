"""Scripts of examples/ run as they stand, from any folder, each within seconds on one core."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def output(script, folder):
    """What a script prints; it may write into the folder."""
    known = {"PYTHONPATH": str(ROOT / "scripts"), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-W", "error::UserWarning", ROOT / "examples" / script]
    done = subprocess.run(call, cwd=folder, env=os.environ | known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module


@pytest.mark.slow
def test_a_small_step_of_a_resnet_is_linear(tmp_path):
    text = output("resnet.py", tmp_path)
    assert text.startswith("method      layerwise")
    shares = [float(share) for share in re.findall(r"([\d.]+)% of the trace", text)]
    assert abs(sum(shares) - 100) < 1
    small, large = (float(off) for off in re.findall(r"linear change by ([\d.]+)%", text))
    assert small < 10 < large


@pytest.mark.slow
def test_losses_of_a_physics_informed_network_are_balanced(tmp_path):
    text = output("physics_informed.py", tmp_path)
    equal, balanced = (float(ends) for ends in re.findall(r"ends ([\d.]+)", text))
    assert balanced < 0.2 * equal
    assert (tmp_path / "physics_informed.png").stat().st_size > 10_000


@pytest.mark.slow
def test_kernels_of_a_transformer_are_compared(tmp_path):
    text = output("transformer.py", tmp_path)
    left = re.findall(r"^(width 32|infinite width) +([\d.]+) of the variance is left$", text, re.M)
    assert [name for name, _ in left] == ["width 32", "infinite width"]
    assert all(float(error) < 0.1 for _, error in left)


def test_kernels_of_a_transformer_learn_what_is_not_linear(example):
    found = example("transformer").errors()
    assert list(found) == ["width 32", "infinite width"]
    assert all(error < 0.1 for error in found.values())
