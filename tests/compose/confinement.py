"""A room of the test's own: what engines leave on a machine ends with it.

Engines mount file systems, keep state below `/run`, leave daemons behind, and write packet filters that stay when the
last container is gone. In namespaces of their own, all of that goes when the first process ends. Only the groups that
processes are counted in (cgroups) have no such end, so they are removed by name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# What Podman and Docker call their groups when systemd doesn't name them.
_GROUPS = ("libpod_parent", "docker", "buildah-buildah")

# Hides where engines keep state, all but the name servers that /etc/resolv.conf may link to.
_SET_UP = """
set -eu
servers=$(cat /etc/resolv.conf)
for folder in /run /dev/shm /var/lib; do mount -t tmpfs tmpfs "$folder"; done
file=$(realpath --canonicalize-missing /etc/resolv.conf)
case "$file" in /run/*) mkdir -p "$(dirname "$file")"; echo "$servers" > "$file" ;; esac
ip link set lo up
exec "$@"
"""


def confined(arguments: Sequence[str], *, with_network: bool) -> int:
    """Run this program again in namespaces of its own, and wait; give the exit code.

    Without the machine's network there is a loopback interface of its own, and no way out.
    """
    network = () if with_network else ("--net",)
    # The first process of such a namespace inherits orphans; catatonit ends them as init does.
    command = [
        "unshare", "--mount", "--pid", "--ipc", *network, "--fork", "--mount-proc", "--kill-child", "sh", "-c", _SET_UP,
        "sh", "catatonit", "-g", "--", sys.executable, sys.argv[0], *arguments,
    ]  # fmt: skip
    return subprocess.run(command, check=False).returncode


@contextmanager
def groups_removed() -> Iterator[None]:
    """Remove the engine's cgroups at the end, unless the machine had them before."""
    roots = [path for path in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")) if path.is_dir()]
    groups = [root / name for root in roots for name in _GROUPS if not (root / name).exists()]
    try:
        yield
    finally:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()
