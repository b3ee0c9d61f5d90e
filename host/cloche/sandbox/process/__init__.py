"""Cells in a process of their own: what the process does, how it is locked up, and what is said between it and its host."""
