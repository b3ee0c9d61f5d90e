"""What goes wrong in the shop."""

from __future__ import annotations


class OutOfStock(Exception):
    pass
