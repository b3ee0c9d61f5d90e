"""Policies, grants and bounds as people write them: a name that there is not is told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cloche import Grant, Policy


def test_a_misspelt_bound_says_which_one_is_meant() -> None:
    misspelt: dict[str, Any] = {"max_children": 3}
    with pytest.raises(ValidationError, match="Policy has no max_children: did you mean children"):
        Policy(**misspelt)


def test_a_misspelt_field_of_a_grant_too() -> None:
    misspelt: dict[str, Any] = {"step": "pay", "argument": {}}
    with pytest.raises(ValidationError, match="Grant has no argument: did you mean arguments"):
        Grant(**misspelt)
