"""The metrics that there are."""

from __future__ import annotations

# Names and labels, as dashboards and alerts know them.
FAMILIES: dict[str, set[str]] = {
    "cloche_runs_started_total": {"workflow"},
    "cloche_runs_completed_total": {"workflow", "status"},
    "cloche_run_duration_seconds": {"workflow", "status"},
    "cloche_step_duration_seconds": {"workflow", "step", "outcome"},
    "cloche_step_attempts_total": {"workflow", "step", "outcome"},
    "cloche_replay_seconds": set(),
    "cloche_replayed_events_total": set(),
    "cloche_guest_fuel_total": set(),
    "cloche_guest_memory_bytes": set(),
    "cloche_sandbox_limit_total": {"kind"},
    "cloche_log_append_seconds": {"store"},
    "cloche_claim_lag_seconds": set(),
    "cloche_runs": {"status"},
    "cloche_replay_mismatch_total": set(),
}
