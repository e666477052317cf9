"""What a mount lacks that several hosts share: which option to add or remove, by the kind of file system. Pure."""

from __future__ import annotations

from autorthanc_spool.disk.filesystems import FileSystem

# Options under which flock is known to this host alone, and what to do about each; by kind of file system. Sources:
# nfs(5) (nolock, local_lock), mount.cifs(8) (nobrl, forcemandatorylock), Lustre's mount.lustre(8) (flock, localflock,
# noflock), gfs2(5) and ocfs2's mount options (localflocks).
_LOCKS_STAY_HERE = {
    "nfs": {
        "nolock": "mount it without nolock, and run lockd on server and client; or, better, mount it as NFSv4",
        "local_lock=all": "mount it with local_lock=none",
        "local_lock=flock": "mount it with local_lock=none",
    },
    "nfs4": {
        "local_lock=all": "mount it with local_lock=none",
        "local_lock=flock": "mount it with local_lock=none",
    },
    "cifs": {"nobrl": "mount it without nobrl"},
    "smb3": {"nobrl": "mount it without nobrl"},
    "lustre": {"localflock": "mount it with -o flock", "noflock": "mount it with -o flock"},
    "gfs2": {"localflocks": "mount it without localflocks"},
    "ocfs2": {"localflocks": "mount it without localflocks"},
}
# Where the mount's options don't show it.
_LOCKS_ELSEWHERE = {
    "beegfs": "set tuneUseGlobalFileLocks = true in beegfs-client.conf on every host, and mount it again",
    "fuse.glusterfs": "leave the volume's features.locks translator on, and mount it by glusterfs on every host",
    "lustre": "mount it with -o flock on every host",
    "nfs": "run lockd and statd on the server and on every host; or, better, mount it as NFSv4",
    "nfs4": "mount it with local_lock=none on every host",
    "cifs": "mount it without nobrl and with cache=none, or take NFSv4",
    "smb3": "mount it without nobrl and with cache=none, or take NFSv4",
    "ceph": "mount it by the kernel or ceph-fuse on every host, not by a gateway",
    "fuse.sshfs": "sshfs shares no locks: take NFSv4 or a cluster file system",
}
_NFS_FRESH = "mount it with actimeo=1,lookupcache=positive"
_FRESH = {
    "nfs": _NFS_FRESH,
    "nfs4": _NFS_FRESH,
    "cifs": "mount it with actimeo=1,cache=none",
    "smb3": "mount it with actimeo=1,cache=none",
    "fuse.glusterfs": "mount it with entry-timeout=1,attribute-timeout=1, and set performance.nl-cache off",
    "fuse.sshfs": "sshfs isn't supported: take NFSv4 or a cluster file system",
}
_INODES = {"cifs": "mount it with serverino", "smb3": "mount it with serverino"}
# One machine's disk: what lies there on another host is something else.
LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs"})


def faulty(mount: FileSystem) -> str:
    """Say which option of this mount keeps locks on this host, and how to fix it; empty when none is known to."""
    for option, fix in _LOCKS_STAY_HERE.get(mount.name, {}).items():
        if option in mount.options:
            return f"{mount.name} is mounted with {option}; {fix}"
    if mount.name == "lustre" and "flock" not in mount.options:
        return "lustre is mounted without flock; mount it with -o flock"
    return ""


def for_locks(mount: FileSystem) -> str:
    """Say how locks become shared on this kind of file system."""
    if mount.name in LOCAL:
        return f"{mount.name} is a disk of one machine: put the spool on a file system that shares flock, such as NFSv4"
    return _LOCKS_ELSEWHERE.get(mount.name, f"take a file system that shares flock; {mount.name} doesn't, as mounted")


def for_freshness(mount: FileSystem) -> str:
    """Say how one host comes to see soon what another one did."""
    return _FRESH.get(mount.name, f"let {mount.name} cache names and attributes for a second at most")


def for_inodes(mount: FileSystem) -> str:
    """Say how one file gets the same inode number on all hosts."""
    return _INODES.get(mount.name, f"{mount.name} numbers files for each host by itself: take another file system")
