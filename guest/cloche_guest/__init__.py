"""The guests of cloche: built WebAssembly modules, the contract they keep (`guest/ABI.md`), and the tool that bakes them."""

from cloche_guest.abi import ABI_VERSION, BuildFailed, GuestError, GuestMissing, Layout, MalformedModule, parse_layout
from cloche_guest.artifacts import Guest, Language, abi_of, derive_python, ensure_compiler, ensure_guest, find_guest

__all__ = [
    "ABI_VERSION",
    "BuildFailed",
    "Guest",
    "GuestError",
    "GuestMissing",
    "Language",
    "Layout",
    "MalformedModule",
    "abi_of",
    "derive_python",
    "ensure_compiler",
    "ensure_guest",
    "find_guest",
    "parse_layout",
]
