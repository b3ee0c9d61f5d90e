"""`InForce`: which policy a new run begins under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloche.errors import UsageError
from cloche.tenancy.policy import Policy


@dataclass(frozen=True, slots=True)
class InForce:
    """`policy` holds for the runs of every tenant that has none of its `own`, and `deployed` for those of code that such a
    tenant has deployed.
    """

    policy: Policy
    own: Mapping[str, Policy] = field(default_factory=dict)
    deployed: Policy = Policy.strict()

    @classmethod
    def given(
        cls,
        policy: Policy | None,
        own: Mapping[str, Policy] | None = None,
        *,
        default: Policy = Policy(),  # noqa: B008
    ) -> InForce:
        """Of what was given: one policy for all runs, or `default` for the host's own and the strict one for deployed code.

        What bounds a cell in `default` (an engine may have limits of its own) bounds those of deployed code too.
        """
        for one in [*([] if policy is None else [policy]), *(own or {}).values()]:
            if not isinstance(one, Policy):
                raise UsageError(f"a policy is a Policy, and not of type {type(one).__name__}: write Policy(…)")
        if policy is not None:
            return cls(policy, dict(own or {}), policy)
        return cls(default, dict(own or {}), Policy.strict().within(default.limits()))

    def of(self, tenant: str, *, is_deployed: bool) -> Policy:
        """That of a tenant's new run of code that it has deployed, or that the host has registered."""
        return self.own.get(tenant, self.deployed if is_deployed else self.policy)
