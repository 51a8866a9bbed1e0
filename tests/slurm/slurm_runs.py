"""Runs of a tiny configuration through the profile of Slurm, and what sbatch got."""

import re
import sys
from pathlib import Path

import h5py
import numpy as np
from workflow import TINY, copy_project, write_overlay

RESULTS = Path("results/tiny/kernel_profile")
# What a site sets, and looks at the queue each second or so instead of each minute.
HERE = [
    *("--default-resources", "slurm_partition=main", "mem_mb=2000", "runtime=60"),
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
    *("--seconds-between-status-checks", "1", "--latency-wait", "20"),
]
# A line at the start of the work of scripts/train_ensemble.py.
START = '    training = cfg["training"]\n'
# Keeps what it is called with, one call a line.
RECORDER = """\
#!{python}
import json, os, sys
with open({record!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
os.execv({sbatch!r}, [{sbatch!r}, *sys.argv[1:]])
"""


def tiny(widths):
    """The tiny configuration with a network of each width and one seed, and no figures."""
    block = TINY["experiments"]["kernel_profile"]
    block = block | {"sweep": {"network.width": widths}, "seeds": 1, "initializations": 1}
    block |= {"figures": []}
    return TINY | {"experiments": {"kernel_profile": block}}


def build(folder, widths):
    project = copy_project(folder)
    write_overlay(project, "tiny", tiny(widths))
    return project


def command(*arguments):
    """Snakemake with the profile of Slurm; targets come first."""
    call = [sys.executable, "-m", "snakemake", *arguments, "--profile", "profiles/slurm"]
    return [*call, *HERE, "--configfile", "config/tiny.yaml"]


def option(call, name):
    """Value of `-x value` or `--name value`, of `--name=value` too; None if there is none."""
    if name in call:
        return call[call.index(name) + 1]
    values = [word.split("=", 1)[1] for word in call if word.startswith(f"{name}=")]
    return values[0] if values else None


def rules_of(call):
    """Rules of the jobs in a submission."""
    command = next(word for word in call if word.startswith("--wrap="))
    return set(re.findall(r"([a-z_]+):experiment=", command))


def assert_equal_results(project, expected):
    tables = [path.relative_to(expected) for path in expected.glob(f"{RESULTS}/tables/*.csv")]
    assert len(tables) >= 5
    for table in tables:
        assert (project / table).read_bytes() == (expected / table).read_bytes()
    for path in expected.glob(f"{RESULTS}/**/*.h5"):
        with h5py.File(path) as first, h5py.File(project / path.relative_to(expected)) as second:
            names = []
            first.visit(names.append)
            for name in names:
                if isinstance(first[name], h5py.Dataset):
                    np.testing.assert_array_equal(second[name][()], first[name][()])
