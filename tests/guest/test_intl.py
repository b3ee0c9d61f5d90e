"""Intl for English: what it answers is what Node.js answers, and what it does not know it refuses."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from guest.cells import run
from guest.test_web import judged

SHOW = """const tried = (call) => { try { return call() } catch (e) { return e.name } };
const dates = [0, 1704164706078, 1731425109000, 1735689599999, -59011459200000, 951782400000].map((ms) => new Date(ms));
"""


def differences(body: str, given: Any) -> list[Any]:
    ours, theirs = run(SHOW + body, given), judged(SHOW + body, given)
    return [(case, one, other) for case, one, other in zip(given, ours, theirs, strict=True) if one != other]


DATES: list[dict[str, Any]] = [
    {}, {"dateStyle": "full", "timeStyle": "full"}, {"dateStyle": "long", "timeStyle": "short"},
    {"dateStyle": "medium", "timeStyle": "medium"}, {"dateStyle": "short", "timeStyle": "long"}, {"dateStyle": "full"},
    {"timeStyle": "short"}, {"timeStyle": "short", "hour12": False}, {"timeZoneName": "short"}, {"timeZoneName": "long"},
    {"hour": "numeric"}, {"hour": "2-digit"}, {"hour": "numeric", "hour12": False},
    {"hour": "numeric", "minute": "numeric", "hourCycle": "h23"}, {"minute": "numeric", "second": "numeric"},
    {"minute": "2-digit"}, {"second": "2-digit"}, {"hour": "numeric", "timeZoneName": "short"},
    {"hour": "numeric", "minute": "numeric", "second": "numeric", "fractionalSecondDigits": 3},
    {"second": "numeric", "fractionalSecondDigits": 2}, {"fractionalSecondDigits": 3},
    {"month": "long", "day": "numeric", "hour": "numeric", "minute": "numeric"},
    {"year": "numeric", "month": "short", "day": "numeric", "weekday": "short", "hour": "numeric", "minute": "2-digit",
     "second": "2-digit", "timeZoneName": "short"},
    {"weekday": "long", "year": "numeric", "month": "long", "day": "numeric", "hour": "numeric"},
    {"era": "short", "year": "numeric"}, {"era": "short", "year": "numeric", "month": "long",
    "day": "numeric"}, {"era": "short"},
    {"era": "long"}, {"weekday": "long", "day": "numeric"}, {"weekday": "long", "hour": "numeric"},
]  # fmt: skip
FIELDS = [
    {name: value for name, value in zip(("weekday", "year", "month", "day"), values, strict=True) if value}
    for values in product([None, "short"], [None, "numeric", "2-digit"], ["numeric", "2-digit", "short", "long", "narrow"],
                          [None, "numeric", "2-digit"])
    if not (values[0] and not values[3])
]  # fmt: skip


def test_dates_are_written_as_node_writes_them() -> None:
    body = """return input.map((options) => tried(() => {
        const format = new Intl.DateTimeFormat("en-US", { timeZone: "UTC", ...options });
        return dates.map((date) => [format.format(date), format.formatToParts(date)]) }));"""

    assert differences(body, DATES + FIELDS) == []


def test_options_are_resolved_as_in_node() -> None:
    body = "return input.map((o) => tried(() => new Intl.DateTimeFormat('en', { timeZone: 'utc', ...o }).resolvedOptions()));"

    assert differences(body, [{}, {"hour": "numeric"}, {"dateStyle": "short"}, {"year": "numeric", "month": "long"},
                              {"hour": "numeric", "minute": "numeric", "second": "numeric"}]) == []  # fmt: skip


def test_methods_of_dates_go_through_it() -> None:
    body = """return input.map((options) => dates.map((date) =>
        ["toLocaleString", "toLocaleDateString", "toLocaleTimeString"].map((name) =>
        tried(() => date[name]("en-US", { timeZone: "UTC", ...options })))));"""

    assert differences(body, [{}, {"dateStyle": "short"}, {"timeStyle": "short"}, {"month": "long"}, {"hour": "numeric"},
                              {"weekday": "short"}, {"hour12": False}, {"month": "short", "day": "numeric"}]) == []  # fmt: skip
    assert run("return [new Date(0).toLocaleString(), new Date(NaN).toLocaleDateString()]") == [
        "1/1/1970, 12:00:00 AM", "Invalid Date",
    ]  # fmt: skip


NUMBERS: list[dict[str, Any]] = [
    {}, {"style": "percent"}, {"style": "percent", "maximumFractionDigits": 1}, {"style": "currency", "currency": "USD"},
    {"style": "currency", "currency": "chf"}, {"style": "currency", "currency": "JPY"}, {"style": "currency",
    "currency": "KWD"},
    {"style": "currency", "currency": "EUR", "currencyDisplay": "code"},
    {"style": "currency", "currency": "USD", "currencySign": "accounting"},
    {"style": "currency", "currency": "USD", "minimumFractionDigits": 0},
    {"style": "currency", "currency": "USD", "maximumFractionDigits": 0}, {"minimumFractionDigits": 2},
    {"maximumFractionDigits": 0}, {"maximumFractionDigits": 2}, {"minimumFractionDigits": 1, "maximumFractionDigits": 2},
    {"minimumIntegerDigits": 3}, {"maximumSignificantDigits": 3}, {"minimumSignificantDigits": 3}, {"useGrouping": False},
    {"useGrouping": "min2"}, {"notation": "compact"}, {"notation": "compact", "compactDisplay": "long"},
    {"notation": "compact", "maximumFractionDigits": 1}, {"signDisplay": "always"}, {"signDisplay": "exceptZero"},
    {"signDisplay": "never"}, {"signDisplay": "negative"}, {"style": "unit", "unit": "hour", "unitDisplay": "long"},
    {"style": "unit", "unit": "day"}, {"style": "unit", "unit": "kilobyte",
    "unitDisplay": "narrow"}, {"style": "unit", "unit": "year"},
    {"minimumFractionDigits": 3, "maximumFractionDigits": 2}, {"style": "currency"}, {"maximumFractionDigits": 101},
    {"style": "currency", "currency": "GBP", "notation": "compact"},
]  # fmt: skip


def test_numbers_are_written_as_node_writes_them() -> None:
    body = """const values = [0, -0, 1, -1, 0.5, 1.5, 2.5, 1.005, 0.256, 12, 999, 1000, 1234.5, -1234.567, 9999, 12345,
        99999, 999999, 1234567.891,
        1e9, 1.5e12, 1e15, 1e21, 1e-7, 0.000123, 123456.789, NaN, Infinity, -Infinity, 4.35, 1e100, 0.1 + 0.2];
        return input.map((options) => tried(() => { const format = new Intl.NumberFormat("en-US", options);
        return values.map((value) => [format.format(value), format.formatToParts(value)]) }));"""

    assert differences(body, NUMBERS) == []


def test_numbers_and_big_integers_have_it_as_a_method() -> None:
    body = (
        "return [(1234.5).toLocaleString(), (12345678901234567890n).toLocaleString('en'), [1234, 5].toLocaleString()]"
    )

    assert run(body) == judged(body, None)


def test_texts_are_ordered_as_node_orders_them() -> None:
    body = """const ascii = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));
        const all = [...ascii, ..."eéèêëẽėęē", ..."AaÁáBb", "resume", "Résumé", "résumé", "Resume", "co-op", "coop",
        "a10", "a9", "a09", "Z", "zz"];
        const orders = [undefined, { numeric: true }, { sensitivity: "base" }, { sensitivity: "accent" },
            { sensitivity: "case" },
            { caseFirst: "upper" }, { ignorePunctuation: true, numeric: true }];
        return orders.map((options) => all.flatMap((left) => all.map((right) => left.localeCompare(right, "en",
        options)).join("")));"""
    ours, theirs = run(body), judged(body, None)

    assert sum(len(row) for row in ours) == sum(len(row) for row in theirs)
    for order, (one, other) in enumerate(zip(ours[:6], theirs[:6], strict=True)):
        assert one == other, order


OTHERS = """return [
  [0, 1, -1, 2, 5, 1.5, 1000, 21, 22, 23, 11, 111].map((n) => [new Intl.PluralRules("en").select(n),
    new Intl.PluralRules("en", { type: "ordinal" }).select(n), new Intl.PluralRules("en",
    { minimumFractionDigits: 1 }).select(n)]),
  ["always", "auto"].map((numeric) => ["long", "short"].map((style) => ["second", "minutes", "hour", "day", "weeks",
  "month", "quarter", "year"]
    .map((unit) => [-2, -1, -0, 0, 1, 2, 1.5, 1000].map((n) => new Intl.RelativeTimeFormat("en",
    { numeric, style }).format(n, unit))))),
  ["conjunction", "disjunction", "unit"].map((type) => ["long", "short", "narrow"].map((style) => [[], ["a"], ["a",
  "b"], ["a", "b", "c"]]
    .map((list) => new Intl.ListFormat("en", { type, style }).format(list)))),
  new Intl.RelativeTimeFormat("en").formatToParts(-1000, "day"), new Intl.ListFormat("en").formatToParts(["a", "b"]),
  [Intl.PluralRules, Intl.RelativeTimeFormat, Intl.ListFormat, Intl.NumberFormat, Intl.Collator]
    .map((K) => new K("en").resolvedOptions()),
  Intl.DateTimeFormat.supportedLocalesOf(["en", "en-US"]), Intl.getCanonicalLocales(["EN-us"]),
  Object.prototype.toString.call(Intl),
  Intl.NumberFormat("en") instanceof Intl.NumberFormat, [1, 2].map(Intl.NumberFormat("en").format), Object.keys(Intl),
];"""


def test_plurals_relative_times_and_lists() -> None:
    ours, theirs = run(OTHERS), judged(OTHERS, None)

    assert [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other] == []


@pytest.mark.parametrize(
    "use",
    [
        "new Intl.DateTimeFormat('de-DE')", "new Intl.NumberFormat('fr')", "new Intl.DateTimeFormat('en-GB')",
        "new Date().toLocaleTimeString('de-DE')", "(5).toLocaleString('de')",
        "'a'.localeCompare('b', 'sv')", "'ж'.localeCompare('я')", "new Intl.DateTimeFormat('en', { calendar: 'japanese' })",
        "new Intl.NumberFormat('en', { notation: 'scientific' })",
        "new Intl.NumberFormat('en', { style: 'unit', unit: 'acre' })",
        "new Intl.RelativeTimeFormat('en', { style: 'narrow' })",
        "new Intl.DateTimeFormat('en', { year: 'numeric', day: 'numeric' })",
        "new Intl.DateTimeFormat('not a locale')", "new Intl.DateTimeFormat('en', { dayPeriod: 'long' })",
    ],
)  # fmt: skip
def test_what_it_does_not_know_is_refused_and_never_answered_wrongly(use: str) -> None:
    assert run(f"try {{ return {use} }} catch (e) {{ return e.name }}") == "RangeError"


def test_the_refusal_says_what_there_is() -> None:
    message = run("try { new Intl.DateTimeFormat('en', { timeZone: 'Asia/Edo' }) } catch (e) { return e.message }")

    assert (
        message
        == "Intl has no time zone Asia/Edo under glass: en and en-US, the Gregorian calendar and the zones of IANA are there"
    )


def test_of_several_locales_one_that_is_there_is_taken() -> None:
    assert run("return new Intl.NumberFormat(['de', 'en']).resolvedOptions().locale") == "en"
