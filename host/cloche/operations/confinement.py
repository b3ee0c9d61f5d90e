"""What holds a process with cells on this machine, layer by layer: what each means, and what to do where it is missing."""

from __future__ import annotations

import os
from collections.abc import Callable

from cloche.operations.checks import Check
from cloche.sandbox.process.lockdown import Confinement
from cloche.sandbox.process.namespaces import KINDS, NOBODY


def layers(found: Confinement) -> list[Check]:
    """One for each layer. One that is missing is no fault (`ok` None): the others hold, or only the limits do."""
    checks = []
    for name, say in _LAYERS.items():
        is_held, says = say(found)
        checks.append(Check(name, True if is_held else None, says, {"is_held": is_held}))
    return checks


def _landlock(found: Confinement) -> tuple[bool, str]:
    version = found.landlock
    if not version:
        how = "Linux 5.13 has it, if built with CONFIG_SECURITY_LANDLOCK and started with it in lsm="
        return False, f"not in this kernel: nothing but what stands below keeps files out of reach; {how}"
    more = ["no file can be opened"] + ["no TCP connection made"] * (version >= 4)
    more += ["no process outside signalled"] * (version >= 6)
    newer = "" if version >= 6 else "; Linux 6.12 has all of it: connections and signals too"
    return True, f"version {version}: {', '.join(more)}{newer}"


def _seccomp(found: Confinement) -> tuple[bool, str]:
    if found.seccomp:
        return True, "system calls that a cell does not need are refused: for files, sockets, processes, signals"
    how = "it takes Linux on x86_64 or aarch64 with CONFIG_SECCOMP_FILTER, and a container that does not forbid it"
    return False, f"no system call is refused: a broken process can make each that the kernel has; {how}"


def _namespaces(found: Confinement) -> tuple[bool, str]:
    own, shared = ([name for name in KINDS if (name in found.namespaces) is wanted] for wanted in (True, False))
    if not own:
        how = "allow user namespaces to this user (user.max_user_namespaces, AppArmor, the container's own filter)"
        return False, f"shares network and files' places with its host, if the layers above do not hold; {how}"
    means = {"net": "no network device", "mount": "an empty root", "pid": "no process but itself to name"}
    what = ", ".join(text for name, text in means.items() if name in own)
    why = "; its own process ids take a host that runs as root" if shared == ["pid"] else ""
    left = f"; not: {', '.join(shared)}{why}" if shared else ""
    return True, f"of its own: {', '.join(own)}{f' ({what})' if what else ''}{left}"


def _cgroup(found: Confinement) -> tuple[bool, str]:
    if found.cgroup:
        return True, "one for each: its memory and threads are bounded, and cores are shared out by tenant"
    how = "have systemd delegate some to the service: Delegate=yes and DelegateSubgroup=host in its unit"
    return False, f"none: limits of the process hold memory, and cores are shared out by thread; {how}"


def _user(found: Confinement) -> tuple[bool, str]:
    if found.user is None:
        return False, "not known on this system"
    if found.user == NOBODY and found.user != os.geteuid():
        return True, "nobody, who owns no file"
    if os.geteuid() != 0:
        return (
            False,
            f"that of this program ({found.user}): the layers above keep its files out of reach; root could change it",
        )
    how = "allow user namespaces, or give the service CAP_SYS_RESOURCE with CAP_SETUID"
    return (
        False,
        f"root by name, without its capabilities: files of root are kept away by the layers above alone; {how}",
    )


def _capabilities(found: Confinement) -> tuple[bool, str]:
    if found.capabilities is None:
        return False, "not known on this system"
    if not found.capabilities:
        return True, "none, and none can be had again"
    return False, f"{found.capabilities:#x}: it could not give them up; start the service without them"


_LAYERS: dict[str, Callable[[Confinement], tuple[bool, str]]] = {
    "landlock": _landlock,
    "seccomp": _seccomp,
    "namespaces": _namespaces,
    "cgroup": _cgroup,
    "user": _user,
    "capabilities": _capabilities,
}
