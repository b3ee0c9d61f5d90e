"""Which limits hold for an attempt or a run, in full: by the input, the tenant, and the policy of the tenant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cloche.errors import InvalidInput
from cloche.store.permits import Limit, LimitName
from cloche.tenancy import Policy
from cloche_codegen import AnyLimit, BadKey, key_of

if TYPE_CHECKING:
    from cloche.history import TenantId
    from cloche.history.effects import StartStep
    from cloche_codegen import Step


def limits_asked(
    policy: Policy, tenant: TenantId, limits: Iterable[AnyLimit], given: Any, parameter: str | None
) -> list[Limit]:
    """Each limit by its full name, and those that the tenant's policy adds to them: the smaller number of two holds.

    `given` and `parameter` are as in `key_of`.

    Raises:
        BadKey: a key cannot be had of the input.
        Exception: what the author's function of a key raised.
    """
    found: dict[str, Limit] = {}

    def add(name: LimitName, most: int) -> None:
        packed = name.pack()
        known = found.get(packed)
        found[packed] = Limit(packed, most if known is None else min(most, known.most), name.per_ms)

    for limit in limits:
        key = key_of(limit, given, parameter)
        add(LimitName(limit.name, limit.per_ms, tenant if limit.is_of_tenant else "", key), limit.most)
        for bound in policy.limit_bounds:
            if bound.limit == limit.name:
                add(LimitName(limit.name, limit.per_ms, tenant), min(bound.most, limit.most))
    return list(found.values())


def input_of(step: Step, start: StartStep) -> tuple[Any, str | None]:
    """What the keys of a step's limits are looked up in, and the name of the parameter that it is the whole of."""
    parameters = step.parameters
    positional, keywords = start.given, start.keywords
    if len(positional) == 1 and not keywords:
        return positional[0], parameters.first
    try:
        named = dict(parameters.own.bind_partial(*positional, **keywords).arguments)
    except TypeError:  # the call fails with that, as any other
        return (positional[0] if positional else dict(keywords)), parameters.first
    if len(named) == 1 and parameters.first in named:
        return named[parameters.first], parameters.first
    return named, None


def permits_of_run(workflow: Any, policy: Policy, tenant: TenantId, value: Any) -> list[list[str | int]]:
    """The limits that hold for a run of a workflow with this input, as they are recorded. Deployed code has none of its own.

    Raises:
        InvalidInput: it has no value by which a limit goes.
    """
    limits = getattr(workflow, "limits", ())
    if not limits:
        return []
    parameters = workflow.parameters
    try:
        found = limits_asked(policy, tenant, limits, value, parameters.first if parameters is not None else None)
    except BadKey as error:
        raise InvalidInput(str(error)) from error
    return [list(limit) for limit in found]
