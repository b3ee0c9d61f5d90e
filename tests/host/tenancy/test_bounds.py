"""Which test runs into which bound of a policy: none is without one."""

from __future__ import annotations

import ast
from pathlib import Path

from host.tenancy.test_policy import CASES

from cloche import Policy

HERE, BUDGETS, RATES = "host/tenancy/test_policy.py", "hostile/test_budgets.py", "hostile/test_rates.py"
EVENTS = ("host/worker/test_waiting_events.py", "test_more_events_than_may_wait_are_refused_to_their_sender")
SCHEDULES = ("host/worker/test_schedules.py", "test_a_tenants_schedules_keep_within_its_policy")
SUMS = "hostile/test_sums.py"
# Which test runs into a bound that is not among `CASES`.
ELSEWHERE = {
    "source_bytes": (HERE, "test_source_bytes_are_counted_before_anything_is_stored"),
    "checkpoint_bytes": (HERE, "test_checkpoint_bytes_leave_a_larger_one_unwritten_and_the_run_as_it_is"),
    "run_lifetime_s": (HERE, "test_run_lifetime_s_ends_a_run_that_moves_after_it"),
    "log_bytes_per_second": (BUDGETS, "test_a_run_that_writes_too_fast_waits_and_ends_as_it_would"),
    "cancel_s": ("host/run/test_cancel.py", "test_a_run_whose_step_never_ends_is_canceled_in_time"),
    "clean_up_s": ("host/run/test_clean_up.py", "test_clean_up_s_ends_one_that_ignores_it"),
    "descendants": (BUDGETS, "test_what_hangs_below_a_root_is_counted_in_all_workers"),
    "step_starts_per_second": (BUDGETS, "test_steps_that_come_too_fast_wait_and_none_is_lost"),
    "starts_per_second": (RATES, "test_runs_that_begin_too_fast_wait"),
    "deploys_per_second": (RATES, "test_deploys_that_come_too_fast_wait"),
    "calls_per_second": (RATES, "test_calls_that_come_too_fast_wait"),
    "tenant_memory_bytes": (RATES, "test_a_worker_keeps_so_many_bytes_of_a_tenants_cells"),
    "stored_bytes": (SUMS, "test_a_tenant_has_so_much_room_and_its_runs_wait_for_more"),
    "open_runs": (SUMS, "test_so_many_runs_are_open"),
    "blocked_runs": (SUMS, "test_nothing_starts_beside_so_many_blocked_runs"),
    "concurrent_runs": (BUDGETS, "test_runs_that_a_step_begins_have_so_many_places_too"),
    "queued_runs": ("host/worker/test_admission.py", "test_runs_beyond_the_bound_wait_and_begin_in_order"),
    **{f"{of}waiting_event{what}": EVENTS for of in ("", "tenant_") for what in ("s", "_bytes")},
    **dict.fromkeys(("schedules", "schedule_every_s"), SCHEDULES),
    "limit_bounds": ("host/worker/test_limits.py", "test_a_tenant_has_its_part_of_a_limit_that_all_share"),
    "host_closures": ("host/steps/test_host_closures.py", "test_it_needs_the_leave_of_the_policy"),
}


def test_every_bound_has_a_test_that_runs_into_it() -> None:
    assert sorted([*CASES, *ELSEWHERE]) == sorted(Policy.model_fields)
    for limit, (file, name) in ELSEWHERE.items():
        text = (Path(__file__).parents[2] / file).read_text("utf-8")
        tests = [one for one in ast.parse(text).body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        [found] = [one for one in tests if one.name == name]
        said = "\n".join(ast.unparse(one) for one in (found, *found.decorator_list))
        assert limit in said, (file, name)
