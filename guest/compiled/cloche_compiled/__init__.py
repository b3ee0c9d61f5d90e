"""The guests of cloche as native code for x86-64 Linux: `cloche.sandbox.shipped` finds them, and compares their digests."""
