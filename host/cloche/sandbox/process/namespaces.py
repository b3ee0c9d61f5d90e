"""Takes this process out of what it shares with all others: network, mounts, IPC, names of the machine, users, process ids.

The third layer behind Landlock and seccomp, and the only one where a kernel has neither: what is left is a network without a
device, an empty root that nobody can write to, and a user who is nobody. What cannot be had is left out: many containers and
some systems forbid it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

NOBODY = 65_534  # user and group that own nothing
KINDS = {  # in the order in which they are left; the rest needs a privilege that the first gives
    "user": 0x10000000,
    "net": 0x40000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "cgroup": 0x02000000,
    "mount": 0x00020000,
    "pid": 0x20000000,
}
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 1 << 14, 1 << 18
_MNT_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_ROOM = b"/proc"  # a directory that is there: the empty root is put on it


def leave() -> frozenset[str]:
    """Leave all that can be left; which those are. The process has one thread yet, and opens no file afterwards."""
    if sys.platform != "linux":
        return frozenset()
    left = {"user"} if _become_nobody() else set()
    left |= {name for name in ("net", "ipc", "uts", "cgroup") if _unshare(name)}
    if _unshare("mount") and _empty_root():
        left.add("mount")
    return frozenset(left)


def begin_with_own_ids() -> bool:
    """Have the process that this thread starts next see no other process. It takes a privilege, and this thread starts no more.

    Without that privilege it would take another process beside each, which waits for its end.
    """
    return sys.platform == "linux" and os.geteuid() == 0 and _unshare("pid")


def _unshare(name: str) -> bool:
    return not _libc().unshare(KINDS[name])


def _become_nobody() -> bool:
    """Users of its own, in which this process is NOBODY.

    Under root it is NOBODY outside too. The namespace belongs to the host's user, so the host may still set its limits, which
    it could not of another user's process without CAP_SYS_RESOURCE.
    """
    if os.geteuid() != 0:
        return _unshare("user") and _map("self", os.geteuid(), os.getegid())
    told, tell = os.pipe()
    this = os.readlink("/proc/self")  # as the host numbers it
    if not (outside := os.fork()):  # who leaves cannot say who it was: somebody who stays does
        os.close(tell)
        os._exit(not (os.read(told, 1) and _map(this, NOBODY, NOBODY)))
    os.close(told)
    has_left = _unshare("user")
    os.write(tell, b"!" if has_left else b"")
    os.close(tell)
    _, is_nameless = os.waitpid(outside, 0)
    if has_left and not is_nameless:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    return has_left


def _map(pid: str, user: int, group: int) -> bool:
    """Call a user and a group outside NOBODY inside."""
    process = Path("/proc", pid)
    try:
        if pid == "self":  # a condition of the kernel for who has no privilege
            process.joinpath("setgroups").write_text("deny")
        process.joinpath("uid_map").write_text(f"{NOBODY} {user} 1")
        process.joinpath("gid_map").write_text(f"{NOBODY} {group} 1")
    except OSError:
        return False
    return True


def _empty_root() -> bool:
    """Have a root in which nothing is and nothing can be made."""
    if (pivot_root := _PIVOT_ROOT.get(platform.machine())) is None:
        return False
    if not _mounted(None, b"/", None, _MS_REC | _MS_PRIVATE):
        return False
    if not _mounted(b"none", _ROOM, b"tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, b"size=4k,mode=555"):
        return False
    os.chdir(_ROOM)
    is_root = not _libc().syscall(pivot_root, b".", b".") and not _libc().umount2(b".", _MNT_DETACH)
    os.chdir("/")
    return is_root


def _mounted(source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> bool:
    return not _libc().mount(source, target, kind, ctypes.c_ulong(flags), data)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
