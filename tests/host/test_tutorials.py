"""Programs in the style of the tutorials of Temporal, DBOS, Restate and Prefect: they run, and print what they should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.guests import needs_python

TUTORIALS = Path(__file__).parents[2] / "host" / "examples" / "tutorials"
PRINTED = {
    "document_ingestion": (
        "{'a': 12, 'b': 9, 'c': 12}\n['download', 'pages/index', 'pages/index#2', 'pages/index#3', 'pages/index#4']\n"
    ),
    "etl": ("3\n[{'city': 'Oslo', 'visits': 4}, {'city': 'Rome', 'visits': 4}, {'city': 'Lima', 'visits': 4}]\n"),
    "food_ordering": ("delivered by 12:30 {'status': 'on its way'}\nrejected {'status': 'rejected'}\n"),
    "greeting_messages": ("{'language': 'en'}\n{'language': 'pt'} Olá mundo (approved by ann)\n"),
    "money_transfer": (
        "withdrew 250 from ben; deposited 250 on ann in attempt 2\n"
        "withdrew 250 from ben; there is no account nobody; refunded 250 to ben\n"
    ),
    "order_children": (
        "{'done': ['shipped 2 tea', 'shipped 3 salt'], 'failed': ['unicorn']}\n['o-1 › 1', 'o-1 › 2', 'o-1 › 3']\n"
    ),
    "reminder_clock": ("seen [20, 21, 22]\n{'took': True, 'count': 3}\nseen [20]\ncanceled\n"),
    "subscription": (
        "to ann: welcome\n"
        "to ann: goodbye, you paid 28.50\n"
        "Decimal('28.50')\n"
        "to ben: welcome\n"
        "to ben: goodbye, you paid 0\n"
        "success\n"
        "to cid: welcome\n"
        "to cid: canceled\n"
        "canceled\n"
    ),
    "trip_saga": (
        "success ann paid 50 None\n"
        "undone: car-ann\n"
        "undone: flight-ann\n"
        "failed None FatalError: this payment will never go through\n"
    ),
    "widget_store": ("o-2: sold out\no-1: not paid (declined) · 1 left\no-3: dispatched · 0 left\n"),
}


def test_every_tutorial_is_tested() -> None:
    assert sorted(PRINTED) == sorted(file.stem for file in TUTORIALS.glob("*.py"))


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_a_tutorial_prints_what_it_shows(name: str) -> None:
    needs_python()
    done = subprocess.run(
        [sys.executable, "-W", "error", str(TUTORIALS / f"{name}.py")],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == PRINTED[name]


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_a_tutorial_passes_a_type_checker(name: str) -> None:
    """As a newcomer's editor reads it."""
    strict = str(Path(__file__).parents[1] / "typing")
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--level",
        "error",
        "--project",
        strict,
        "--pythonpath",
        sys.executable,
    ]
    done = subprocess.run([*command, str(TUTORIALS / f"{name}.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
