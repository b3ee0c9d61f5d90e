"""Which ids an address can have in it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

NO_NAMES = (".", "..")  # in an address they are folders: clients leave them out, even where they are percent-encoded


def _addressable(id: str) -> str:
    if id in NO_NAMES:
        raise ValueError(f"a run {id!r} would have no address: give it another id")
    return id


NewRunId = Annotated[str, AfterValidator(_addressable)]
