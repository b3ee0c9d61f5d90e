"""The same events, the same bytes, in the Python guest: under glass and without, one by one and in any batches.

What this guest and the JavaScript one have in common is compared as well: the same commands, but for what only Python keeps
apart (`as_javascript`).
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from guest_python.test_twins import CASES, VALUES, as_javascript, golden
from host.engines.tangles import Tangler
from host.engines.twins import Script, Twins, answer, code_of, engines, opened, replayed
from support.guests import needs_python

from cloche_codegen import Workflow

LONG = bool(os.environ.get("CLOCHE_LONG"))
TANGLES = 6000 if LONG else 96
PORTIONS = 6


class PythonTwins(Twins):
    """Two cells of the Python guest, and one of JavaScript beside them."""

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "python")
        self.javascript = opened(engines()[1], code_of(workflow))

    def tell(self, message: bytes) -> list[list[Any]]:
        commands = super().tell(message)
        other = answer(self.javascript, message)
        if self.fault is not None:
            assert other == self.fault
        else:
            assert isinstance(other, bytes)
            assert as_javascript(self.said[-1]) == as_javascript(other)
        return commands


def lived(workflow: Workflow, seed: int) -> PythonTwins:
    script = Script(seed, VALUES)
    twins = PythonTwins(workflow)
    state = script.random.choice([{}, {"n": 1, "k": "K", "list": [1]}])
    script.live(twins, script.value(), state=state, context={"user": script.value(), "go": True})
    return twins


@pytest.mark.parametrize("case", CASES)
def test_golden_graphs(case: str) -> None:
    needs_python()
    workflow = golden(case)
    assert workflow is not None
    for seed in range(200 if LONG else 8):
        lived(workflow, seed)


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_graphs_that_tangle(portion: int) -> None:
    needs_python()
    for seed in range(portion, TANGLES, PORTIONS):
        workflow = Tangler(seed, codes=False).workflow()
        for way in range(2):
            try:
                lived(workflow, 7 * seed + way)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, way {way}: {error}") from None


@pytest.mark.parametrize("seed", range(400 if LONG else 12))
def test_any_batches_lead_to_the_same_memory(seed: int) -> None:
    needs_python()
    twins = lived(Tangler(100_000 + seed, codes=False).workflow(), seed)
    cuts = sorted({seed % (len(twins.told) + 1), len(twins.told) // 2})
    hashes = set()
    for portions in ([], cuts, list(range(1, len(twins.told)))):
        assert replayed(engines()[0], twins.code, twins.told, portions) == b"".join(twins.said)
        cell = opened(engines()[0], twins.code)
        for start, end in zip([0, *portions], [*portions, len(twins.told)], strict=True):
            if events := twins.told[start:end]:
                cell.turn(events)
        hashes.add(cell.state_hash())
    assert hashes == {twins.glass.state_hash()} or twins.fault
