"""The alert rules of docs/operations: each is about metrics and labels that there are, and says what to do."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from support.metrics import FAMILIES

yaml: Any = import_module("yaml")  # it has no types
FILE = Path(__file__).parents[3] / "docs/operations/alerts.yml"
STATUSES = {"pending", "running", "waiting", "suspended", "paused", "blocked", "success", "failed", "canceled"}
OUTCOMES = {"completed", "bailed", "suspended", "failed", "canceled"}
KNOWN = {"status": STATUSES, "outcome": OUTCOMES}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]]


def selectors(expr: str) -> list[tuple[str, dict[str, str]]]:
    """The metrics that an expression is about, with the labels that they are chosen by."""
    found = re.findall(r"\b(cloche_\w+)(?:\{([^}]*)\})?", expr)
    return [(name, dict(re.findall(r'(\w+)="([^"]*)"', labels))) for name, labels in found]


def family(name: str) -> str:
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    return base if base in FAMILIES and name not in FAMILIES else name


def test_every_rule_is_about_metrics_that_there_are() -> None:
    for rule in rules():
        for name, chosen in selectors(rule["expr"]):
            assert family(name) in FAMILIES, (rule["alert"], name)
            for label, value in chosen.items():
                assert label in FAMILIES[family(name)], (rule["alert"], label)
                assert value in KNOWN[label], (rule["alert"], value)


def test_labels_of_texts_and_groups_are_those_of_the_metrics() -> None:
    for rule in rules():
        known = {label for name, _ in selectors(rule["expr"]) for label in FAMILIES[family(name)]} | {"le", "instance"}
        asked = {label for by in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in re.split(r",\s*", by)}
        asked |= set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert asked <= known, rule["alert"]


def test_every_rule_says_what_to_do_and_how_urgent_it_is() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "warning")
        assert rule["annotations"].keys() == {"summary", "action"}
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_a_name_that_is_not_there_is_found() -> None:
    assert selectors('rate(cloche_runs_total{status="gone"}[1m])') == [("cloche_runs_total", {"status": "gone"})]
    assert family("cloche_runs_total") not in FAMILIES
    assert family("cloche_claim_lag_seconds_bucket") == "cloche_claim_lag_seconds"
