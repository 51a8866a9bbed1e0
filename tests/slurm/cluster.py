"""A Slurm of one machine on the loopback: configured, started, asked and stopped."""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
# Its default place: an environment variable that names another one is lost on the way to a job.
CONFIGURATION = Path("/etc/slurm")
OWN = "# Written by ntkflow's tests; they delete it.\n"
MEMORY_MB = 8000
CPUS = 4

# Without cgroups, which a container may not make: memory is watched by reading /proc each second.
SLURM = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
SchedulerParameters=sched_interval=2,batch_sched_delay=1
"""


class Slurm:
    """A running cluster with one node."""

    def __init__(self, folder: Path, gpus: int):
        self.folder, self.gpus = folder, gpus

    def ask(self, *command: str) -> str:
        """Output of one of Slurm's commands."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self) -> dict[str, dict[str, str]]:
        """Fields of `scontrol show job` of every job that is remembered, by its number."""
        records = self.ask("scontrol", "--oneliner", "show", "job").splitlines()
        found = [
            dict(word.split("=", 1) for word in record.split() if "=" in word)
            for record in records
            if record.startswith("JobId=")
        ]
        return {fields["JobId"]: fields for fields in found}

    def wait_for_job(self, chosen: Callable[[dict[str, str]], bool], seconds: float = 300) -> str:
        """Number of the first job whose fields are as wanted.

        Raises:
            TimeoutError: if none comes in time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for number, fields in self.jobs().items():
                if chosen(fields):
                    return number
            time.sleep(0.2)
        raise TimeoutError(f"no such job within {seconds} s: {self.jobs()}")


def reason_to_skip() -> str | None:
    """Why no Slurm can be started here, None where it can."""
    if os.geteuid() != 0:
        return "a Slurm of the tests' own needs root"
    lacking = [program for program in PROGRAMS if not shutil.which(program)]
    if lacking and not shutil.which("apt-get"):
        return f"no {lacking[0]}, and no apt-get to install it with"
    configured = CONFIGURATION / "slurm.conf"
    if configured.exists() and OWN not in configured.read_text():
        return f"{configured} is another cluster's"
    return None


def install() -> str | None:
    """Install Slurm where it is missing; the reason if that failed."""
    if all(map(shutil.which, PROGRAMS)):
        return None
    script = Path(__file__).with_name("install.sh")
    done = subprocess.run(["bash", script], capture_output=True, text=True)
    if done.returncode:
        return f"slurm-wlm cannot be installed: {(done.stdout + done.stderr).strip()[-300:]}"
    return None


@contextmanager
def running(folder: Path, gpus: int = 0) -> Iterator[Slurm]:
    """A cluster of one node with so many GPUs, which are not real; stopped at the end.

    Args:
        folder: where it keeps its state, logs and sockets.
        gpus: number of GPUs.

    Raises:
        RuntimeError: if a daemon does not start; with its log.
    """
    with ExitStack() as stack:
        lock = stack.enter_context(open(CONFIGURATION.with_name("ntkflow-tests.lock"), "w"))
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for another run of these tests
        stack.callback(_delete_configuration)
        _configure(folder, gpus)
        _start_munge(folder, stack)
        _start(["slurmctld", "-D", "-i"], folder, stack)
        _start(["slurmd", "-D"], folder, stack)
        slurm = Slurm(folder, gpus)
        _await_node(slurm)
        stack.callback(_cancel_all, slurm)
        yield slurm


def _configure(folder: Path, gpus: int) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    CONFIGURATION.mkdir(exist_ok=True)
    host = socket.gethostname().split(".")[0]
    ports = dict(zip(("controller_port", "node_port"), _free_ports(2), strict=True))
    text = OWN + SLURM.format(host=host, folder=folder, **ports)
    gres = ""
    if gpus:
        devices = [folder / f"gpu{number}" for number in range(gpus)]
        for device in devices:  # another name of /dev/null: Slurm takes no plain file
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        text += "GresTypes=gpu\n"
        gres = f" Gres=gpu:{gpus}"
        lines = [f"Name=gpu File={device}\n" for device in devices]
        (CONFIGURATION / "gres.conf").write_text(OWN + "".join(lines))
    text += f"NodeName={host} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory={MEMORY_MB}{gres}\n"
    text += f"PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP\n"
    (CONFIGURATION / "slurm.conf").write_text(text)


def _delete_configuration() -> None:
    for name in ("slurm.conf", "gres.conf"):
        file = CONFIGURATION / name
        if file.exists() and OWN in file.read_text():
            file.unlink()


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _start_munge(folder: Path, stack: ExitStack) -> None:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    options = {
        "key-file": key,
        "socket": folder / "munge.socket",
        "pid-file": folder / "munged.pid",
        "log-file": folder / "munged.log",
        "seed-file": folder / "munged.seed",
    }
    call = ["munged", "--foreground", "--force"]
    _start([*call, *(f"--{name}={value}" for name, value in options.items())], folder, stack)
    _await(options["socket"].exists, folder)


def _start(command: list[str], folder: Path, stack: ExitStack) -> None:
    """Start a daemon that is stopped with this process, also if that is killed."""
    with open(folder / f"{command[0]}.out", "wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=_end_with_parent)
    stack.callback(_stop, daemon)


def _end_with_parent() -> None:
    set_signal_of_parents_death = 1  # PR_SET_PDEATHSIG of prctl
    ctypes.CDLL(None).prctl(set_signal_of_parents_death, signal.SIGTERM)


def _stop(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _await_node(slurm: Slurm) -> None:
    def idle() -> bool:
        try:
            return slurm.ask("sinfo", "--noheader", "--format=%t").strip() == "idle"
        except RuntimeError:
            return False

    _await(idle, slurm.folder)


def _await(ready: Callable[[], bool], folder: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            logs = [path for path in folder.iterdir() if path.suffix in (".log", ".out")]
            said = "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in logs)
            raise RuntimeError(f"Slurm did not start within {seconds} s\n{said}")
        time.sleep(0.1)


def _cancel_all(slurm: Slurm) -> None:
    """End every job, so that no process of one outlives the cluster."""
    slurm.ask("scancel", "--user=root", "--signal=KILL", "--full")
    slurm.ask("scancel", "--user=root")
    _await(lambda: not slurm.ask("squeue", "--noheader").strip(), slurm.folder)
