"""Which GPUs a process may use, and one of them for each job."""

import fcntl
import os
import re
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

DEVICES = Path("/dev")
_HELD: list[int] = []  # open files, whose locks end with the process, killed or not


def allotted_devices(environment: Mapping[str, str], devices: Path = DEVICES) -> list[str]:
    """GPUs that a process may use, as CUDA_VISIBLE_DEVICES names them.

    A job of Slurm has those that Slurm gave it: none if it asked for none, whatever the machine
    holds. Elsewhere it is CUDA_VISIBLE_DEVICES, or every NVIDIA device of the machine.

    Args:
        environment: variables of the process.
        devices: folder of the device files.
    """
    given = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE")
    if "SLURM_JOB_ID" in environment and not any(environment.get(name) for name in given):
        return []
    if "CUDA_VISIBLE_DEVICES" in environment:
        names = [name.strip() for name in environment["CUDA_VISIBLE_DEVICES"].split(",")]
        return [name for name in names if name not in ("", "-1", "NoDevFiles")]
    files = [file.name for file in devices.glob("nvidia*")]
    numbers = sorted(int(file[6:]) for file in files if re.fullmatch("nvidia[0-9]+", file))
    return [str(number) for number in numbers]


def limit_gpus(workflow: Any, environment: Mapping[str, str] = os.environ) -> None:
    """Limit the resource `gpu` to the devices there are, unless `--resources` or a profile does.

    A job on a cluster is read by a Snakemake of its own, to which limits are not passed on: there
    it is what the cluster gave, so that a job sent without a GPU asks for none within. On a
    machine without a device nothing is limited; jobs find out and take the CPU.

    Args:
        workflow: Snakemake's workflow, reading the Snakefile.
        environment: variables of the process.
    """
    if "gpu" in workflow.global_resources:
        return
    devices = allotted_devices(environment)
    if devices or not workflow.is_main_process:
        workflow.register_resource("gpu", len(devices))


def hold_device(folder: Path | None = None) -> str | None:
    """Take the GPU that fewest jobs of this user hold, and let this process see it alone.

    It is given back when the process ends, killed or not. To be called before CUDA starts, which
    reads CUDA_VISIBLE_DEVICES once.

    Args:
        folder: where locks are; by default one of this machine, user and Slurm job, since within
            a job of Slurm devices may be counted anew.

    Returns:
        Its name in CUDA_VISIBLE_DEVICES, None where there is no GPU.
    """
    devices = allotted_devices(os.environ)
    if not devices:
        return None
    if folder is None:
        owner = f"{os.getuid()}-{os.environ.get('SLURM_JOB_ID', 'local')}"
        folder = Path(tempfile.gettempdir(), f"ntkflow-gpu-{owner}")
    folder.mkdir(mode=0o700, exist_ok=True)
    # The first job on every device, then the second one: as many as `--resources gpu` lets run.
    places = ((device, place) for place in count() for device in devices)
    device = next(
        device
        for device, place in places
        if _lock(folder / re.sub(r"\W", "_", f"{device}-{place}"))
    )
    os.environ["CUDA_VISIBLE_DEVICES"] = device
    return device


def _lock(path: Path) -> bool:
    """Whether this process could lock a file, until it ends."""
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    _HELD.append(file)
    return True
