"""The name of a generated Python module's function."""

from __future__ import annotations

import keyword
import re
from typing import Final

from cloche_codegen.emission import Names

_RESERVED: Final = frozenset(
    re.findall(
        r"\w+",
        """
        input given at state context value path item turn datetime Context applied holds lasting
        branch choose defined dountil dowhile eq exists falsy first foreach get gt gte instant is_in lt lte map_value ne
        nested not_exists not_in parallel present read result seconds settled sleep sleep_until step text truthy undone
        wait_for_event workflow
        """,
    )
)


def exported(id: str, names: Names) -> str:
    """The name of the module's function: the id made an identifier. Nothing else of the module begins as it may."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", id).strip("_")
    taken = name in _RESERVED or keyword.iskeyword(name) or name in ("None", "True", "False")
    if taken or not name or name[0].isdigit() or name.startswith(("w_", "r_", "f_", "_")):
        name = f"workflow_{name}"
    return names.of("", name)
