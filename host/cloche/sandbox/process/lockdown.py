"""Locks this process up: after it, no file can be opened, no socket made, nothing started and no process signalled.

Layers of Linux that each suffice where they are there: namespaces (`namespaces`), Landlock (no file, no TCP, no signal to the
outside) and a seccomp filter that names what a cell needs and refuses the rest: of `fcntl`, which can have the kernel signal
any process, by its arguments. Resource limits go beside them. None of it needs a privilege, and none can be taken back. The
system calls are made directly: the bindings that are published wrap a C library that is not on every machine, or are first
versions; what is needed of them are a few calls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cloche.sandbox.process.namespaces import NOBODY

CPU_S_MAX = 3_600  # a process that has computed for so long is ended, and its runs are rebuilt in a new one
FILES_MAX = 64
HEEDED = (signal.SIGABRT, signal.SIGTERM, signal.SIGXCPU)  # see `heed_signals`
FILE_BYTES_MAX = 256 << 20  # no file is there to be written to but wasmtime's own, in memory: a guest's first memory

_CAP_SYS_RESOURCE, _CAPABILITIES_VERSION = 24, 0x20080522
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF, _LANDLOCK_VERSION = 444, 446, 1
_SECCOMP_SET_MODE_FILTER, _SECCOMP_TSYNC = 1, 1
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_LOAD_WORD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # in the data of a filter
_SECOND_AT, _THIRD_AT = 24, 32  # low words of the second and third argument: both machines are little-endian

# What Python and wasmtime ask of `fcntl`. The rest is refused: an owner (F_SETOWN, F_SETOWN_EX) with a signal (F_SETSIG) of a
# file that is O_ASYNC would have the kernel send that signal to a process outside, the host for one.
_F_SETFL, _O_ASYNC = 4, 0x2000
_FCNTL_COMMANDS = {"F_DUPFD": 0, "F_GETFD": 1, "F_SETFD": 2, "F_GETFL": 3, "F_DUPFD_CLOEXEC": 1030}
_FCNTL_COMMANDS |= {"F_ADD_SEALS": 1033, "F_GET_SEALS": 1034}

_BpfStep = tuple[int, int, int, int]  # operation, how many steps to go past if it holds and if not, its value

# Architecture as the kernel names it, number of `seccomp`, and of the calls that a process with cells makes.
_MACHINES: dict[str, tuple[int, int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        317,
        {"read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11}
        | {"brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "sched_yield": 24}
        | {"mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39, "sendto": 44, "recvfrom": 45, "exit": 60}
        | {"fcntl": 72, "ftruncate": 77, "sigaltstack": 131, "gettid": 186, "futex": 202, "sched_getaffinity": 204}
        | {"restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231}
        | {"getrandom": 318, "memfd_create": 319, "membarrier": 324, "rseq": 334},
    ),
    "aarch64": (
        0xC00000B7,
        277,
        {"fcntl": 25, "ftruncate": 46, "close": 57, "lseek": 62, "read": 63, "write": 64, "pread64": 67, "ppoll": 73}
        | {"fstat": 80, "exit": 93, "exit_group": 94, "futex": 98, "nanosleep": 101, "clock_gettime": 113}
        | {"clock_getres": 114, "clock_nanosleep": 115, "sched_getaffinity": 123, "sched_yield": 124}
        | {"restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139}
        | {"getpid": 172, "gettid": 178, "sendto": 206, "recvfrom": 207, "brk": 214, "munmap": 215, "mremap": 216}
        | {"mmap": 222, "mprotect": 226, "madvise": 233, "getrandom": 278, "memfd_create": 279, "membarrier": 283}
        | {"rseq": 293},
    ),
}


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the kernel agreed to. `landlock` is its version, 0 where there is none. `namespaces`: those of its own; `cgroup`:
    whether it has a control group of its own; `user` and `capabilities`: as the host sees it, None where that cannot be seen.
    """

    landlock: int = 0
    seccomp: bool = False
    namespaces: frozenset[str] = frozenset()
    cgroup: bool = False
    user: int | None = None
    capabilities: int | None = None

    @property
    def is_closed(self) -> bool:
        """Whether files and network are out of reach."""
        return self.seccomp or self.landlock >= 4 or self.namespaces >= {"net", "mount"}


def die_with(parent: int) -> None:
    """Have the kernel end this process when the thread that started it ends."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() not in (parent, 0):  # it had ended before; 0: it is in another namespace, and its sockets will tell
        os._exit(0)


def drop_privileges(parent: int) -> None:
    """Give up all capabilities, and become nobody under root, so that a broken process reaches what nobody reaches.

    Where it could not leave its host's users (`namespaces`), it stays root by name if its host could not set its limits any
    more: those of another user need CAP_SYS_RESOURCE. `parent` as of `die_with`: the kernel forgets that when the user changes.
    """
    if sys.platform != "linux":
        return
    if os.geteuid() == 0 and _effective_capabilities() >> _CAP_SYS_RESOURCE & 1:
        with suppress(OSError):  # in a container that may not, the layers below hold
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    _libc().capset(struct.pack("Ii", _CAPABILITIES_VERSION, 0), bytes(24))
    die_with(parent)


def _effective_capabilities() -> int:
    found = "CapEff: 0"
    with suppress(OSError), open("/proc/self/status") as file:
        found = next((line for line in file if line.startswith("CapEff:")), found)
    return int(found.split()[1], 16)


def heed_signals() -> None:
    """Have signals end this process also where it is the first of its namespace: that is spared those without a handler.

    A handler of Python's would wait for the interpreter; this one is the C library's `_exit`, with the signal's number.
    """
    if sys.platform == "linux" and os.getpid() == 1:
        libc = _libc()
        for number in HEEDED:
            libc.signal(int(number), libc._exit)


def raise_oom_score() -> None:
    """When memory is short the kernel ends this process first, not its host: its runs are rebuilt, the host's would be lost."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def limit() -> None:
    """Resource limits. Address space is not among them: wasmtime reserves 4 GiB a cell. The host limits memory (`grants`)."""
    limits = {
        "RLIMIT_CPU": CPU_S_MAX,
        "RLIMIT_NOFILE": FILES_MAX,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 0,
        "RLIMIT_FSIZE": FILE_BYTES_MAX,
    }
    for name, most in limits.items():
        if (which := getattr(resource, name, None)) is not None:
            with suppress(OSError, ValueError):  # a lower one is in force
                resource.setrlimit(which, (most, most))


def close_files() -> int:
    """Landlock: no file, no TCP, no signal to other processes, for this thread and those that it starts. Its version, or 0."""
    if sys.platform != "linux":
        return 0
    libc = _libc()
    version = int(libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION))
    if version < 1 or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return 0
    files = (1 << (13 + (version >= 2) + (version >= 3))) - 1 | (version >= 5) << 15
    handled = struct.pack("QQQ", files, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = libc.syscall(_LANDLOCK_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0:
        return 0
    refused = libc.syscall(_LANDLOCK_RESTRICT_SELF, rules, 0)
    os.close(rules)
    return 0 if refused else version


def filter_calls() -> bool:
    """Seccomp, for all threads: system calls that a cell does not need fail with EPERM. False where that cannot be had.

    They fail and do not kill: Python and wasmtime try some calls that they can do without, and a killed process would cost its
    tenant all turns under way. TSYNC, because the serving threads have started already.
    """
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    architecture, seccomp, allowed = _MACHINES[platform.machine()]
    program = _program(architecture, allowed)
    libc, code = _libc(), ctypes.create_string_buffer(program, len(program))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    filtered = _Program(len(program) // 8, ctypes.addressof(code))
    return not libc.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_TSYNC, ctypes.byref(filtered))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _program(architecture: int, allowed: Mapping[str, int]) -> bytes:
    """Another architecture ends the process; what is allowed goes on; the rest fails with EPERM."""
    plain = sorted(number for name, number in allowed.items() if name != "fcntl")
    steps = [(_LOAD_WORD, 0, 0, _ARCHITECTURE_AT), (_IF_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL)]
    steps += [(_LOAD_WORD, 0, 0, _NUMBER_AT), (_IF_EQUAL, len(plain) + 2, 0, allowed["fcntl"])]
    steps += [*_allow_only(plain), *_fcntl_steps()]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _allow_only(values: Sequence[int]) -> list[_BpfStep]:
    """Two steps longer than `values`: it ends with an answer, whatever was loaded."""
    checks = [(_IF_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [*checks, (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]


def _fcntl_steps() -> list[_BpfStep]:
    """Flags of a file may be set, but not O_ASYNC."""
    commands = _allow_only(sorted(_FCNTL_COMMANDS.values()))
    flags = [(_LOAD_WORD, 0, 0, _THIRD_AT), (_IF_ANY_BIT, 0, 1, _O_ASYNC), (_RETURN, 0, 0, _REFUSE)]
    flags.append((_RETURN, 0, 0, _ALLOW))
    return [(_LOAD_WORD, 0, 0, _SECOND_AT), (_IF_EQUAL, len(commands), 0, _F_SETFL), *commands, *flags]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
