"""The open hooks of a run, by the name of the event that each waits for."""

from __future__ import annotations

from cloche.history.ids import CallId


class OpenHooks(dict[str, dict[CallId, None]]):
    """The calls that wait for each name, the first one first; and which names have come and gone since a mark."""

    __slots__ = ("_moved",)

    def __init__(self) -> None:
        super().__init__()
        self._moved: dict[str, bool] = {}  # names since the mark, and whether they were awaited then

    def open(self, name: str, call: CallId) -> None:
        self._moved.setdefault(name, name in self)
        self.setdefault(name, {})[call] = None

    def close(self, name: str, call: CallId) -> None:
        self._moved.setdefault(name, True)
        calls = self[name]
        del calls[call]
        if not calls:
            del self[name]

    def clear(self) -> None:
        for name in self:
            self._moved.setdefault(name, True)
        super().clear()

    def mark(self) -> None:
        self._moved.clear()

    def since_mark(self) -> tuple[list[str], list[str]]:
        """The names that are awaited and were not, and those that were and are not any more."""
        opened = [name for name, was in self._moved.items() if not was and name in self]
        return opened, [name for name, was in self._moved.items() if was and name not in self]
