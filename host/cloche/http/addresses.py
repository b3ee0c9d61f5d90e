"""Which ids an address can have in it."""

from __future__ import annotations

NO_NAMES = (".", "..")  # in an address they are folders: clients leave them out, even where they are percent-encoded
