"""What a `Batch` costs in the guest, counted: the same on every machine. `cloche bench batches` measures whole runs."""

from __future__ import annotations

import pytest
from support.guests import needs_python

from benchmarks.batches import BATCHES, IN_THE_GUEST, fuel, image, of_list


@pytest.mark.parametrize("policy", sorted(BATCHES))
def test_a_batch_of_ten_thousand_costs_little_more_than_a_list(policy: str) -> None:
    needs_python()
    assert fuel(image(BATCHES[policy])) <= fuel(image(of_list)) * IN_THE_GUEST
