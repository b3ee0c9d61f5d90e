"""What may be a name: of a workflow, a node, a step, an event. Names are printed, compared and part of every call path."""

from __future__ import annotations

import re
import sys
from pathlib import PurePath
from typing import Final
from unicodedata import is_normalized

INPUT_CHECK: Final = "cloche:input"  # the step that the host performs where a nested workflow with a schema is entered
NAME_SIZE_MAX: Final = 200  # an id is part of every call path below it, and paths are stored with each record
# Line ends, controls, and the marks that cannot be seen or turn the direction of text: in generated code a comment would show a
# reader something else than what runs. It stands in sources, so it does not change.
UNSEEN: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
# What no name may have, for one name must not look like another (Unicode TR 36): these, and all else that leaves no mark of its
# own: fillers, variation selectors, tags, format controls, noncharacters, and spaces other than the common one.
NOT_IN_NAMES: Final = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000"
    r"\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U00013430-\U0001345f"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

TARGET_PREFIX: Final = "cloche_target_"  # of the module that a file is imported as, so that it hides none of its name


def home_of(kind: type) -> str:
    """The module that a class is said to be of: the same however the program was begun. `python shop.py`, `python -m shop` and
    `cloche run shop.py:order` all say `shop`."""
    module = kind.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name.removesuffix(".__main__") if spec is not None else PurePath(file).stem if file else module
    return module.removeprefix(TARGET_PREFIX)


def qualified_name(kind: type) -> str:
    """Module and name of a class."""
    return f"{home_of(kind)}.{kind.__qualname__}"


def shown(text: str) -> str:
    """`text` with what cannot be seen spelled out."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def flaw_of(name: str) -> str | None:
    """Why `name` is no name, to follow "the id …"; None if it is one."""
    if not name or name != name.strip():
        return "is empty or padded with spaces"
    if len(name) > NAME_SIZE_MAX:
        return f"has {len(name)} characters; at most {NAME_SIZE_MAX} are allowed"
    if found := NOT_IN_NAMES.search(name):
        return f"contains {found[0]!r}; control characters and marks that do not show are not allowed"
    if not is_normalized("NFC", name):
        return "is not in the normal form of Unicode (NFC)"
    return None
