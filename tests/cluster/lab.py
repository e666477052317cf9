"""Two hosts of a cluster on one machine: network namespaces, a GlusterFS volume that both mount, Slurm, and an Orthanc.

Run as root inside of namespaces of its own (`make cluster-test` does it): of processes, so that the kernel ends all of
them with the first one; of mounts, so that the folders of Debian's daemons are ours and go with us; and of the network,
so that nobody else sees the hosts. Nothing is left on the machine, however the lab ends.

    tests (10.77.0.254) ── bridge ──┬── nodea (10.77.0.1): glusterd, brick, slurmctld, slurmd, Orthanc
                                    └── nodeb (10.77.0.2): slurmd

All three mount the volume at the same path. Each host has a name and mounts of its own; cutting its link is pulling
its cable.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.orthanc_server import OrthancServer, orthanc_program
from tests.helpers.waiting import wait_until

NETWORK = "10.77.0"
OUR_ADDRESS = f"{NETWORK}.254"
# So soon does a client give up a server, and the server the locks of a client.
PING_TIMEOUT_S = 5
CPUS = 4
# What Debian's daemons have at fixed places; each gets a folder of the lab's there.
SHADOWED = ("/var/lib/glusterd", "/var/log/glusterfs", "/var/lib/munge", "/var/log/munge", "/etc/munge", "/etc/slurm")
CGROUPS = ("freezer", "memory", "cpuset", "cpuacct", "cpu", "devices")
VOLUME = "spool"

Words = Sequence[str | Path]


def run(*words: str | Path, timeout_s: float = 60) -> str:
    """Run a command of the lab to its end."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def end(process: subprocess.Popen[bytes], patience_s: float = 10) -> None:
    """End a process of ours, and wait for it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(eq=False)
class Host:
    """One host: what runs in its namespaces."""

    name: str
    address: str
    link: str
    anchor: subprocess.Popen[bytes]
    mount: subprocess.Popen[bytes] | None = None
    slurmd: subprocess.Popen[bytes] | None = None

    def words(self, *words: str | Path, cwd: Path = Path("/")) -> list[str | Path]:
        """Give the command that runs a command on this host."""
        inside = ["--mount", "--net", "--uts", f"--wdns={cwd}"]
        return ["nsenter", f"--target={self.anchor.pid}", *inside, "--", *words]

    def run(self, *words: str | Path, timeout_s: float = 60) -> str:
        return run(*self.words(*words), timeout_s=timeout_s)

    def has(self, program: str) -> bool:
        return subprocess.run(self.words("which", program), capture_output=True, check=False).returncode == 0

    def processes(self) -> list[int]:
        """List everything that runs on this host but its anchor."""
        own = Path(f"/proc/{self.anchor.pid}/ns/uts").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            # Processes end while we look.
            with suppress(OSError):
                if entry.name.isdigit() and (entry / "ns/uts").readlink() == own:
                    found.append(int(entry.name))
        return [pid for pid in found if pid != self.anchor.pid]

    @contextmanager
    def without_link(self) -> Iterator[None]:
        """Pull the cable, and put it in again."""
        self.cut()
        try:
            yield
        finally:
            self.join()

    def cut(self) -> None:
        run("ip", "link", "set", self.link, "down")

    def join(self) -> None:
        run("ip", "link", "set", self.link, "up")


@dataclass
class Lab:
    """The hosts, what they share, and how to break it."""

    folder: Path
    checkout: Path = Path(__file__).parents[2]
    a: Host = field(init=False)
    b: Host = field(init=False)
    _closing: ExitStack = field(default_factory=ExitStack)
    _mount: subprocess.Popen[bytes] | None = None

    @property
    def shared(self) -> Path:
        """Where everybody mounts the volume."""
        return self.folder / "shared"

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.a, self.b

    def start(self) -> Lab:
        assert os.geteuid() == 0, "the lab takes root"
        assert os.getpid() < 100, "the lab takes a namespace of processes: start it by `make cluster-test`"
        self._shadow()
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "lab", "type", "bridge")
        run("ip", "address", "add", f"{OUR_ADDRESS}/24", "dev", "lab")
        run("ip", "link", "set", "lab", "up")
        self.shared.mkdir()
        self.a = self._host("nodea", f"{NETWORK}.1", "lab-a")
        self.b = self._host("nodeb", f"{NETWORK}.2", "lab-b")
        self._start_volume()
        self.mount_here()
        for host in self.hosts:
            self.mount(host)
        self._start_slurm()
        return self

    def stop(self) -> None:
        self._closing.close()

    def spawn(self, words: Words, log: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start something that ends with the lab at the latest."""
        with (self.folder / f"{log}.log").open("ab") as stream:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment, start_new_session=True
            )
        self._closing.callback(end, process)
        return process

    # Namespaces

    def _shadow(self) -> None:
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        for place in SHADOWED:
            ours = self.folder / "system" / place.lstrip("/")
            ours.mkdir(parents=True)
            run("mount", "--bind", ours, place)

    def _host(self, name: str, address: str, link: str) -> Host:
        script = f"hostname {name} && exec sleep infinity"
        anchor = self.spawn(["unshare", "--net", "--mount", "--uts", "sh", "-c", script], name)
        wait_until(lambda: Path(f"/proc/{anchor.pid}/comm").read_text() == "sleep\n", 10, f"{name} is there")
        host = Host(name, address, link, anchor)
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(anchor.pid))
        run("ip", "link", "set", link, "master", "lab", "up")
        host.run("ip", "link", "set", "lo", "up")
        host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        # Slurm 22.05 wants to find these, even where it uses none of them.
        host.run("mount", "-t", "tmpfs", "tmpfs", "/sys/fs/cgroup")
        for controller in CGROUPS:
            host.run("mkdir", f"/sys/fs/cgroup/{controller}")
            host.run("mount", "-t", "cgroup", "-o", controller, "cgroup", f"/sys/fs/cgroup/{controller}")
        return host

    # GlusterFS

    def _start_volume(self) -> None:
        brick = self.folder / "brick"
        brick.mkdir()
        self.spawn(self.a.words("glusterd", "-N", "-l", self.folder / "glusterd.log"), "glusterd")
        # What glusterd starts by itself.
        self._closing.callback(self._end_bricks)
        wait_until(lambda: self._gluster("peer", "status", expect=None), 30, "glusterd answers")
        self._gluster("volume", "create", VOLUME, f"{self.a.address}:{brick}", "force")
        for name, value in (("network.ping-timeout", str(PING_TIMEOUT_S)), ("performance.quick-read", "on")):
            self._gluster("volume", "set", VOLUME, name, value)
        self._gluster("volume", "start", VOLUME)

    def _gluster(self, *words: str, expect: int | None = 0) -> bool:
        done = subprocess.run(
            self.a.words("gluster", "--mode=script", *words), capture_output=True, text=True, timeout=60, check=False
        )
        assert expect is None or done.returncode == expect, (words, done.stdout, done.stderr)
        return done.returncode == 0

    def bricks(self) -> list[int]:
        """Find the processes that serve the volume."""
        found = []
        for path in Path("/run/gluster/vols", VOLUME).glob("*.pid"):
            with suppress(ValueError, OSError):
                found.append(int(path.read_text()))
        return [pid for pid in found if Path(f"/proc/{pid}").exists()]

    def _end_bricks(self) -> None:
        for pid in self.bricks():
            os.kill(pid, signal.SIGKILL)

    def kill_brick(self) -> None:
        """Kill what serves the volume: for all hosts it is away."""
        self._end_bricks()

    def start_brick(self) -> None:
        self._gluster("volume", "start", VOLUME, "force")

    def mount(self, host: Host) -> None:
        """Mount the volume on a host."""
        with suppress(AssertionError):
            host.run("umount", "--lazy", self.shared)
        host.mount = self.spawn(host.words(*self._client(host.name)), f"client-{host.name}")
        wait_until(lambda: self._is_mounted(host), 60, f"the volume is mounted on {host.name}")

    def mount_here(self) -> None:
        self._mount = self.spawn(self._client("tests"), "client-tests")
        wait_until(self.shared.is_mount, 60, "the volume is mounted for the tests")

    def _client(self, name: str) -> list[str | Path]:
        log = self.folder / f"client-{name}.gluster.log"
        return [
            "glusterfs", "--no-daemon", f"--volfile-server={self.a.address}", f"--volfile-id={VOLUME}",
            "-l", log, self.shared,
        ]  # fmt: skip

    def _is_mounted(self, host: Host) -> bool:
        done = subprocess.run(host.words("mountpoint", "-q", self.shared), check=False, timeout=60)
        return done.returncode == 0

    # Slurm

    def _start_slurm(self) -> None:
        self._start_munge()
        (self.folder / "slurm").mkdir()
        nodes = "\n".join(
            f"NodeName={host.name} NodeHostname={host.name} NodeAddr={host.address} CPUs={CPUS} RealMemory=16000"
            for host in self.hosts
        )
        state = self.folder / "slurm"
        Path("/etc/slurm/slurm.conf").write_text(
            f"""ClusterName=lab
SlurmctldHost=nodea({self.a.address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ScronParameters=enable
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=10
KillWait=30
MinJobAge=600
StateSaveLocation={state}/state
SlurmdSpoolDir={state}/spool-%n
SlurmdPidFile=/run/slurmd-%n.pid
SlurmctldPidFile=/run/slurmctld.pid
{nodes}
PartitionName=lab Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
        )
        Path("/etc/slurm/cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=yes\n")
        self.spawn(self.a.words("slurmctld", "-D", "-i"), "slurmctld")
        for host in self.hosts:
            self.start_slurmd(host)
        wait_until(self._all_idle, 60, "Slurm's nodes are idle")

    def _start_munge(self) -> None:
        key = Path("/etc/munge/munge.key")
        key.write_bytes(os.urandom(128))
        Path("/run/munge").mkdir()
        for place, mode in (
            (Path("/etc/munge"), 0o700), (key, 0o400), (Path("/run/munge"), 0o755),
            (Path("/var/lib/munge"), 0o700), (Path("/var/log/munge"), 0o700),
        ):  # fmt: skip
            shutil.chown(place, "munge", "munge")
            place.chmod(mode)
        munged = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--foreground", "--force"]
        self.spawn(munged, "munged")
        wait_until(Path("/run/munge/munge.socket.2").exists, 30, "munged listens")

    def start_slurmd(self, host: Host) -> None:
        host.slurmd = self.spawn(host.words("slurmd", "-D", "-N", host.name), f"slurmd-{host.name}")

    def _all_idle(self) -> bool:
        done = subprocess.run(
            self.a.words("sinfo", "--noheader", "--format=%T %D"), capture_output=True, text=True, check=False
        )
        return done.stdout.split() == ["idle", "2"]

    def repair(self, *, idle: bool = True) -> None:
        """Bring back what a test broke: links, bricks, mounts, Slurm's nodes; and wait until no job runs, if `idle`."""
        for host in self.hosts:
            host.join()
        if not self.bricks():
            self.start_brick()
        for host in self.hosts:
            if host.mount is None or host.mount.poll() is not None or not self._is_mounted(host):
                self.mount(host)
            if host.slurmd is None or host.slurmd.poll() is not None:
                self.start_slurmd(host)
        wait_until(self.shared.is_mount, 60, "the tests see the volume")
        if idle:
            wait_until(self._all_idle, 120, "Slurm's nodes are idle")

    def kill_node(self, host: Host) -> None:
        """Kill Slurm's daemon on a host, and all that runs there for it: as if the machine had died."""
        spared = {host.mount.pid} if host.mount else set()
        for pid in self._of_slurm(host) - spared:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if host.slurmd:
            host.slurmd.wait(timeout=30)

    def _of_slurm(self, host: Host) -> set[int]:
        return {pid for pid in host.processes() if _environment(pid).get("SLURM_JOB_ID") or _is_slurmd(pid)}


def _environment(pid: int) -> dict[str, str]:
    with suppress(OSError):
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        return dict(pair.partition("=")[::2] for pair in pairs)  # type: ignore[misc]
    return {}


def _is_slurmd(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith(("slurmd", "slurmstepd"))
    return False


class LabOrthanc(OrthancServer):
    """An Orthanc on host a, which all hosts can reach."""

    host: Host

    def on(self, host: Host) -> LabOrthanc:
        self.host = host
        self.config = {**self.config, "RemoteAccessAllowed": True}
        return self

    @property
    def url(self) -> str:
        return f"http://{self.host.address}:{self.http_port}"

    def command(self, path: Path) -> Sequence[str | Path]:
        return self.host.words(orthanc_program(), path)
