"""A slice of the campaigns that `make fuzz` runs for longer, and what they have found so far."""

from __future__ import annotations

from typing import Any

import pytest
from fuzz import outputs
from fuzz.campaign import NATIVE, TARGETS, Native, Target, Tried, campaign, minimised, read_corpus
from fuzz.oracles import CAME_BACK, CANNOT_CROSS, REFUSED, Finding, judge_messages, judge_output, judge_value
from fuzz.seeds import SEEDS

SLICE: dict[Target, int] = {"values": 15_000, "events": 6_000, "outputs": 4_000}  # four seconds each


def test_a_slice_of_a_campaign_of_outputs_finds_nothing() -> None:
    report = outputs.campaign([*read_corpus("outputs"), *outputs.seeds()], seed=20261123, runs=SLICE["outputs"])

    print(report)
    assert report.runs >= SLICE["outputs"]


@pytest.mark.parametrize("target", NATIVE)
def test_a_slice_of_a_campaign_finds_nothing(target: Native) -> None:
    report = campaign(target, [*read_corpus(target), *SEEDS[target]()], seed=20261122, runs=SLICE[target])

    print(report)
    assert report.runs >= SLICE[target]


def test_coverage_leads_from_nothing_to_most_of_the_codec() -> None:
    """Without the look at what is new, the same count of runs reaches half of that."""
    corpus = minimised("values", read_corpus("values")).edges_reached

    assert campaign("values", [], seed=1, runs=20_000).edges_reached > 0.8 * corpus


def test_the_same_seed_makes_the_same_inputs() -> None:
    first, second = (campaign("values", SEEDS["values"](), seed=7, runs=2_000) for _ in range(2))

    assert first.kept == second.kept
    assert campaign("values", SEEDS["values"](), seed=8, runs=2_000).kept != first.kept


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_is_minimised(target: Target) -> None:
    corpus = read_corpus(target)

    assert corpus == sorted(set(corpus), key=lambda data: (len(data), data))


# ---- findings --------------------------------------------------------------------------------------------------------

YEAR_0 = b"\xc0\x740000-12-31T23:59:59Z"
YEAR_0_IN_UTC = b"\xc0\x78\x190001-01-01T00:00:00+01:00"


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (YEAR_0, REFUSED),  # the host's calendar begins with year 1; the guest took it, and wrote what the host refuses
        (YEAR_0_IN_UTC, CANNOT_CROSS),
    ],
)
def test_what_was_found_is_mended(data: bytes, outcome: int) -> None:
    tried: list[Tried] = []
    campaign("values", [data], seed=0, runs=0, watch=tried.append)

    assert [one.outcome for one in tried] == [outcome]


SLEEPS_FOR_EVER = bytes.fromhex(  # `cloche log` and `cloche runs` did not know the year
    "85000161736473746570810185010261741b1000018bcfe568056176850203616864686f6f6ba0830402646c696e65f6"
)


def test_what_was_found_in_outputs_is_mended() -> None:
    outputs.judge(SLEEPS_FOR_EVER)


# ---- the oracles see what is wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "outcome", "consumed", "output"),
    [
        (b"\x01", REFUSED, 0, b""),
        (b"\x01", CAME_BACK, 1, b"\x02"),
        (b"\x01\x01", CAME_BACK, 2, b"\x01"),
        (b"\x18\x01", CAME_BACK, 2, b"\x01"),
        (b"\xfb\x3f\xf0" + bytes(6), CAME_BACK, 9, b"\xfb\x3f\xf0" + bytes(6)),
        (b"\x81" * 65 + b"\x80", CAME_BACK, 66, b"\x81" * 65 + b"\x80"),
        (YEAR_0_IN_UTC, CAME_BACK, 28, b"\xc0\x78\x180000-12-31T23:00:00.000Z"),
    ],
)
def test_a_codec_that_differs_is_a_finding(data: bytes, outcome: int, consumed: int, output: bytes) -> None:
    with pytest.raises(Finding):
        judge_value(data, outcome, consumed, output)


@pytest.mark.parametrize(
    "output", [b"\x82\x07", b"\x82\x07\x01", b"\x82\x07\x18\x01\xf6", b"\x82\x07\xa2\x61b\x01\x61a\x01\xf6"]
)
def test_output_that_is_not_canonical_is_a_finding(output: bytes) -> None:
    with pytest.raises(Finding):
        judge_output(output)


@pytest.mark.parametrize(
    "place", ["history.machine.unpack_command", "history.validate_import.unpack_command", "cli.output.moment"]
)
def test_a_host_that_breaks_is_a_finding(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = max(outputs.seeds(), key=len)
    outputs.judge(whole)

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("broken on purpose")

    monkeypatch.setattr(f"cloche.{place}", broken)
    with pytest.raises(Finding, match="broken on purpose"):
        outputs.judge(whole)


def test_what_a_terminal_would_obey_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche.cli.output.shown", lambda text: text + "\x1b[2J")
    with pytest.raises(Finding, match="a terminal would obey"):
        outputs.judge(max(outputs.seeds(), key=len))


def test_a_decoder_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> Any:
        raise KeyError("no")

    monkeypatch.setattr("cloche.history.output.decode", broken)
    with pytest.raises(KeyError):
        judge_messages(b"\x82\x07\x01\xf6")


def test_the_native_guest_is_a_finding_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.native.prelude", lambda: ["/no/such/file"])
    with pytest.raises(Finding, match="/no/such/file"):
        campaign("values", [], seed=1, runs=1)
