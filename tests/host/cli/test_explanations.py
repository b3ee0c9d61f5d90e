"""Every error code has a page, and every page a code."""

from cloche import errors
from cloche.cli.explanations import EXPLANATIONS, explanation


def _codes() -> set[str]:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    return {kind.code for kind in kinds if issubclass(kind, errors.ClocheError)}


def test_every_error_code_has_a_page_and_every_page_a_code() -> None:
    assert set(EXPLANATIONS) == _codes() | {"graph"}


def test_no_two_kinds_of_error_share_a_code() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(_codes()) == sum(issubclass(kind, errors.ClocheError) for kind in kinds)


def test_a_page_is_more_than_a_line() -> None:
    assert [code for code in EXPLANATIONS if len((explanation(code) or "").split()) < 15] == []
