"""What people write as data: frozen, and a name that there is not is refused with the one that may be meant."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelt(cls, given: Any) -> Any:
        for name in given if isinstance(given, Mapping) else ():
            if name not in cls.model_fields and (near := get_close_matches(str(name), cls.model_fields, 1)):
                raise ValueError(f"{cls.__name__} has no {name}: did you mean {near[0]}?")
        return given
