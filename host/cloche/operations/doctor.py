"""What `cloche doctor` says: versions, guests, cache and store, each with what to do if it is not well; and policies."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Literal

import cloche_guest
from cloche.errors import ClocheError
from cloche.operations.checks import Check
from cloche.operations.confinement import layers
from cloche.operations.policies import Pinned, in_words, pinned
from cloche.operations.replay import verify
from cloche.operations.stores import opened
from cloche.sandbox import base_image, cache_directory
from cloche.sandbox.process.child import Child
from cloche.status import FINAL, RunStatus
from cloche.store import SQLITE_REQUIRED, SQLITE_VERSION, Store, Version, WorkerRow, is_there, shown
from cloche.tenancy import InForce
from cloche.worker.offers import hung_steps


async def examine(store: str, policies: InForce | None = None) -> list[Check]:
    """Look at everything cloche needs on this machine. Changes nothing but the cache of compiled guests.

    `policies`: those of the app that this is asked for; a store does not have them.
    """
    machine = [*_versions(), _guest("javascript"), _python_guest(), _cache(), *_processes()]
    return [*machine, *_policies(policies), *await _store(store)]


def _versions() -> list[Check]:
    names = ("cloche", "wasmtime", "pydantic", "cbor2")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return [
        Check("versions", True, f"{packages}; Python {platform.python_version()} on {platform.platform(terse=True)}"),
        Check(
            "sqlite",
            SQLITE_VERSION >= SQLITE_REQUIRED,
            f"{_dotted(SQLITE_VERSION)}, {_dotted(SQLITE_REQUIRED)} is needed",
        ),
    ]


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _guest(language: Literal["javascript", "python"]) -> Check:
    try:
        guest = cloche_guest.ensure_guest(language)
        base_image(guest.digest, guest.wasm)
    except Exception as error:
        return Check(f"{language} guest", False, str(error))
    return Check(f"{language} guest", True, f"{guest.digest[:16]}, {len(guest.wasm):,} bytes, imports nothing")


def _python_guest() -> Check:
    """An optional part: where it is not, that is no fault."""
    if cloche_guest.find_guest("python") is None:
        return Check(
            "python guest", None, "not installed; workflows for it need cloche[python], or `make guest-python`"
        )
    return _guest("python")


def _cache() -> Check:
    directory = cache_directory()
    files = list(directory.glob("*.cwasm"))
    if not files:
        return Check(
            "cache", False, f"{directory} keeps no compiled guest: each process compiles; is it writable and yours?"
        )
    size = sum(file.stat().st_size for file in files)
    return Check("cache", True, f"{directory}, {len(files)} compiled guests, {size / 1e6:.1f} MB")


def _processes() -> list[Check]:
    """How much a process with cells is locked up here: those in which tenants' texts are read, and those of `ProcessEngine`."""
    try:
        child = Child(patience_s=1.0)
    except ClocheError as error:
        return [Check("cell processes", None, error.message)]
    child.end()
    found = layers(child.confinement)
    by = ", ".join(one.name for one in found if one.ok) or "nothing on this kernel but limits"
    return [Check("cell processes", child.confinement.is_closed or None, f"locked up by {by}"), *found]


def _policies(policies: InForce | None) -> list[Check]:
    if policies is None:
        says = "the defaults, if the app has no other: name it with --app; --policy lists every bound"
        return [Check("policy", None, says, {"differs": {}})]
    of_all = [("policy", policies.policy)]
    if policies.deployed != policies.policy:
        of_all.append(("policy of deployed code", policies.deployed))
    named = [*of_all, *((f"policy of {name}", one) for name, one in policies.own.items())]
    return [_policy(name, policy.differences()) for name, policy in named]


def _policy(name: str, differs: Mapping[str, Any]) -> Check:
    return Check(name, None, in_words(differs), {"differs": differs})


async def _store(where: str) -> list[Check]:
    try:
        if not is_there(where):
            return [Check("store", None, f"there is none at {shown(where)} yet")]
        async with opened(where) as store:
            rows, promised = await store.runs(), await pinned(store)
            findings = (await verify(store, None)).findings
            workers, versions = await living(store), await store.versions(None)
    except ClocheError as error:
        return [Check("store", False, error.message)]
    blocked = [row.key.run for row in rows if row.status == RunStatus.BLOCKED]
    open_count = sum(row.status not in FINAL for row in rows)
    sound = f"{shown(where)}, {len(rows)} runs, {open_count} open, all records as written"
    damage = f"{len(findings)} findings, the first: {findings[0].problem}; see 'cloche verify'" if findings else ""
    return [
        Check("store", not findings, damage or sound),
        Check("blocked runs", not blocked, ", ".join(blocked[:5]) or "none"),
        _pinned(promised),
        _wide(versions),
        Check(
            "executed by",
            None,
            ", ".join(one.id for one in workers) or "nobody: open runs move when a worker is started",
        ),
        _hung(workers),
    ]


def _pinned(promised: list[Pinned]) -> Check:
    """Open runs go on under the policy that they began with, whatever the app has now."""
    each = [f"tenant {one.tenant}, {one.runs} runs: {in_words(one.differs)}" for one in promised]
    facts = {"open_runs": [asdict(one) for one in promised]}
    return Check("pinned policies", None, "; ".join(each[:5]) or "no open runs", facts)


def _wide(versions: Sequence[Version]) -> Check:
    """Code that was deployed before there was a strict policy keeps the one of registered workflows."""
    wide = [f"{one.id} of tenant {one.tenant}" for one in versions if one.is_wide]
    says = ", ".join(wide[:5]) + (f" and {len(wide) - 5} more" if len(wide) > 5 else "")
    advice = ": deployed by an older release, and not under Policy.strict(); withdraw and deploy them again"
    return Check("wide versions", None, says + advice if wide else "none", {"versions": wide})


def _hung(workers: Sequence[WorkerRow]) -> Check:
    """Steps that went on after their time, or after their run was canceled, as their workers say."""
    hung = {worker.id: count for worker in workers if (count := hung_steps(worker))}
    says = ", ".join(f"{count} in {worker}" for worker, count in hung.items())
    says += "; each keeps a thread, and what it holds, until its process ends" if hung else "none"
    return Check("hung steps", not hung, says, {"by_worker": hung})


async def living(store: Store) -> list[WorkerRow]:
    """The workers of a store; those whose process has ended are left out."""
    return [worker for worker in await store.leases.workers() if not worker.is_dead]
