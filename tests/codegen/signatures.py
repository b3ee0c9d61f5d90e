"""Generated signatures and calls of them, and what Python itself says of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Called:
    """A call of `def f(<signature>)`."""

    signature: str
    arguments: list[Any]
    keywords: dict[str, Any]


@st.composite
def _signatures(draw: st.DrawFn) -> str:
    counts = [draw(st.integers(0, 2)) for _ in range(3)]
    only, both, keys = (names[:count] for names, count in zip(("pq", "ab", "xy"), counts, strict=True))
    defaults = draw(st.integers(0, len(only) + len(both)))
    positional = [*only, *both]
    written = [name if at < len(positional) - defaults else f"{name}=0" for at, name in enumerate(positional)]
    if only:
        written.insert(len(only), "/")
    if draw(st.booleans()):
        written.append("*rest")
    elif keys:
        written.append("*")
    written += [name if draw(st.booleans()) else f"{name}=0" for name in keys]
    return ", ".join([*written, *(["**more"] if draw(st.booleans()) else [])])


CALLS = st.builds(
    Called,
    _signatures(),
    st.lists(st.integers(1, 9), max_size=6),
    st.dictionaries(st.sampled_from(["p", "q", "a", "b", "x", "y", "zeta"]), st.integers(1, 9), max_size=4),
)


def function_of(signature: str) -> Callable[..., Any]:
    made: dict[str, Any] = {}
    exec(f"def f({signature}): return sorted(locals().items())", made)
    function: Callable[..., Any] = made["f"]
    return function


def python_says(call: Called) -> tuple[Callable[..., Any], str | None]:
    """The function, and the message of the TypeError that this call of it raises, if it does."""
    function = function_of(call.signature)
    try:
        function(*call.arguments, **call.keywords)
    except TypeError as error:
        return function, str(error)
    return function, None
