"""What the guest does to CPython while it is baked."""
