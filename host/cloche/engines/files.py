"""The files that a source brings along in its last line (`guest/ABI.md`): a JSON object, path -> text or `{"base64": …}`."""

from __future__ import annotations

import json

MARK = "\n# cloche:files "


def texts_of(source: str) -> dict[str, str]:
    """The texts among them, by path; nothing of a source that has none. The source may be a stranger's."""
    _, mark, rest = source.rpartition(MARK)
    if not mark or "\n" in rest:
        return {}
    try:
        found = json.loads(rest)
    except (ValueError, RecursionError):
        return {}
    return {path: text for path, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}
