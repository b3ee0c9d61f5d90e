"""Who may do how much: the policy that bounds a tenant and its runs."""

from __future__ import annotations

from cloche.tenancy.in_force import InForce
from cloche.tenancy.policy import Grant, Limit, LimitBound, Policy
from cloche.tenancy.retention import Retention, days

__all__ = ["Grant", "InForce", "Limit", "LimitBound", "Policy", "Retention", "days"]
