"""A Slurm of one node on this machine, from Debian's packages, for the tests that submit to one."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")

CONFIGURATION = """
ClusterName=surfloss
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=30
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SlurmctldTimeout=300
SlurmdTimeout=300
MessageTimeout=60
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    if os.name != "posix" or os.getuid() != 0:
        return "Slurm's daemons are started by root"
    if absent := [name for name in PROGRAMS if not _find(name)]:
        return f"{', '.join(absent)} not installed: apt-get install slurmctld slurmd slurm-client munge"
    return None


@contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """Start the daemons; yield the environment in which Slurm's commands find them; end them.

    Raises:
        RuntimeError: if the node does not answer, with the daemons' last words.
    """
    host = socket.gethostname().split(".")[0]
    settings = {"host": host, "folder": folder, "controller_port": _free_port(), "node_port": _free_port()}
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(**settings))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    munge = ["--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "seed")]
    daemons = (("munged", munge), ("slurmctld", ["-D", "-c"]), ("slurmd", ["-D", "-c", "-N", host]))
    with ExitStack() as stack:
        for name, arguments in daemons:
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            command = [str(_find(name)), *arguments]
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            stack.callback(_end, process)
        _wait_for_node(folder, environment)
        yield {"SLURM_CONF": str(configuration)}


def _wait_for_node(folder: Path, environment: dict[str, str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    command = ["sinfo", "--noheader", "--format=%T"]
    while time.monotonic() < deadline:
        answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if answer.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join((folder / f"{name}.log").read_text()[-2000:] for name in PROGRAMS[:3])
    raise RuntimeError(f"no idle node after {seconds} s: {answer.stdout} {answer.stderr}\n{logs}")


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
