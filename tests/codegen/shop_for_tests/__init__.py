"""A package whose modules workflows of the tests use as modules."""
