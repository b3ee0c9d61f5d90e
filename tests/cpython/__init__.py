"""CPython's own tests under glass: what of them passes, and why the rest does not."""
