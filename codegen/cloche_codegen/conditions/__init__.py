"""Conditions: predicates, expressions that build them, code strings, and JavaScript's meanings of values."""
