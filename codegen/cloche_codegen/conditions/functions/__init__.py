"""Python functions that go under glass.

Their source is found (`source`, `classes`), cut out (`text`), put together with what it captures (`names`, `captures`, `take`),
read back from a stored graph (`reading`) and, where it is simple enough, made data (`subset`).
"""
