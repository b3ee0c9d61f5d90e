"""Where the time of a step went, folded from the records of its run."""

from __future__ import annotations

from typing import Any

from cloche.history import Kind, Record, TimeMs
from cloche.history.failures import Failure
from cloche.history.ids import CallId, Path, Seq, run_key
from cloche.history.messages import StepCompleted, StepResumed, StepSuspended
from cloche.history.notes import AttemptFailed, AttemptQueued, AttemptStarted
from cloche.history.records import genesis, make_record
from cloche.history.timing import CallTimes, Times, Timing

CALL = CallId(1)


def folded(*told: tuple[Kind, int, Any]) -> CallTimes:
    """The only call of a run whose records are these: kind, time, message or note."""
    timing = Timing()
    for kind, time, message in told:
        timing.take(record_of(kind, time, b"" if message is None else message.pack()))
    [call] = timing.calls
    return call


def record_of(kind: Kind, time: int, body: bytes) -> Record:
    path = Path("charge") if kind is Kind.STEP_CALLED else None
    return make_record(genesis(run_key("r", "t")), Seq(1), kind, TimeMs(time), CALL, path, body)


def called(at: int) -> tuple[Kind, int, Any]:
    return Kind.STEP_CALLED, at, None


def started(at: int, attempt: int = 1, queued: int = 0) -> tuple[Kind, int, Any]:
    return Kind.ATTEMPT_STARTED, at, AttemptStarted(TimeMs(at), CALL, attempt, queued=queued)


def failed(at: int, retry_at: int | None = None) -> tuple[Kind, int, Any]:
    due = None if retry_at is None else TimeMs(retry_at)
    return Kind.ATTEMPT_FAILED, at, AttemptFailed(TimeMs(at), CALL, 1, Failure("Down", ""), due, "")


def completed(at: int) -> tuple[Kind, int, Any]:
    return Kind.STEP_COMPLETED, at, StepCompleted(TimeMs(at), CALL, None)


def test_the_time_a_guest_takes_before_a_step_is_not_the_steps() -> None:
    call = folded(called(0), started(900), completed(1_000))
    assert (call.times, call.outcome) == (Times(work_ms=100), "success")


def test_each_attempt_has_its_work_and_what_lies_between_is_retry_wait() -> None:
    call = folded(called(0), started(10), failed(30, 130), started(135, 2, queued=5), completed(235))
    assert call.times == Times(queue_ms=5, work_ms=120, retry_wait_ms=100)
    assert [(one.work_ms, one.queue_ms, one.outcome, one.error) for one in call.attempts] == [
        (20, 0, "failed", "Down"),
        (100, 5, "success", None),
    ]


def test_suspension_is_not_work() -> None:
    call = folded(
        called(0),
        started(0),
        (Kind.STEP_SUSPENDED, 10, StepSuspended(TimeMs(10), CALL, Path("charge"))),
        (Kind.STEP_RESUMED, 60_010, StepResumed(TimeMs(60_010), CALL, Path("charge"))),
        started(60_010),
        completed(60_030),
    )
    assert call.times == Times(work_ms=30, suspended_ms=60_000)


def test_what_an_attempt_waited_for_a_thread_is_queue() -> None:
    waited = (Kind.ATTEMPT_QUEUED, 1_000, AttemptQueued(TimeMs(1_000), CALL, 800))
    assert folded(called(0), started(0), waited, completed(1_000)).times == Times(queue_ms=800, work_ms=200)


def test_an_attempt_whose_process_ended_is_lost() -> None:
    call = folded(called(0), started(0), started(5_000), completed(5_010))
    assert [one.outcome for one in call.attempts] == ["lost", "success"]
    assert call.times == Times(work_ms=10)


def test_what_goes_on_counts_up_to_now() -> None:
    call = folded(called(0), started(100))
    assert call.until(TimeMs(600)) == Times(work_ms=500)
    assert folded(called(0), started(0), failed(10, 1_000)).until(TimeMs(510)) == Times(work_ms=10, retry_wait_ms=500)
