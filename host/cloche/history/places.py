"""The blocks of a run that were entered and not left: nested workflows, foreach lists and their items, by path."""

from __future__ import annotations

from collections.abc import Iterable

from cloche.history.ids import Seq


class Places:
    """Where in the log each of them was entered. It holds what is open, and what was entered in it, and forgets the rest."""

    __slots__ = ("_entered", "_inner")

    def __init__(self, entered: Iterable[tuple[str, int]] = ()) -> None:
        self._entered: dict[str, Seq] = {}
        self._inner: dict[str, set[str]] = {}  # those that stand in a place
        for path, seq in entered:
            self.enter(path, Seq(seq))

    def __len__(self) -> int:
        return len(self._entered)

    def enter(self, path: str, seq: Seq) -> None:
        """Record `seq` entered it."""
        self._entered[path] = seq
        if (outer := self._outer(path)) is not None:
            self._inner.setdefault(outer, set()).add(path)

    def leave(self, path: str) -> None:
        """It was left, and with it whatever was entered in it."""
        if path not in self._entered:
            return
        if (outer := self._outer(path)) is not None:
            self._inner[outer].discard(path)
        waiting = [path]
        while waiting:
            one = waiting.pop()
            self._entered.pop(one, None)
            waiting += self._inner.pop(one, ())

    def seq_of(self, path: str) -> Seq | None:
        """The record that entered it; None: it was not entered, or was left."""
        return self._entered.get(path)

    def saved(self) -> list[list[str | int]]:
        """All there is to know, as plain data: what it is made of again."""
        return [[path, seq] for path, seq in self._entered.items()]

    def _outer(self, path: str) -> str | None:
        """The innermost place that is entered and that `path` stands in."""
        for at in range(len(path) - 1, 0, -1):
            if path[at] in "/[" and path[:at] in self._entered:
                return path[:at]
        return None
