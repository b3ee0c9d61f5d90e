"""Temporal's Replayer over histories made here: what a server records for N activities, six events each. No server runs."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from rows import row, sizes
from temporal_flow import Sequential
from temporalio.api.common.v1 import ActivityType, Payload, Payloads, WorkflowType
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

QUEUE = TaskQueue(name="bench")


def number(x: int) -> Payloads:
    return Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=str(x).encode())])


class History:
    """The events of one workflow, as they grow."""

    def __init__(self) -> None:
        self.events: list[HistoryEvent] = []
        self._time = Timestamp()
        self._time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))

    def add(self, kind: int) -> HistoryEvent:
        self.events.append(HistoryEvent(event_id=len(self.events) + 1, event_type=kind, event_time=self._time))
        return self.events[-1]

    def workflow_task(self) -> int:
        scheduled = self.add(EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
        scheduled.workflow_task_scheduled_event_attributes.task_queue.CopyFrom(QUEUE)
        started = self.add(EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)
        started.workflow_task_started_event_attributes.scheduled_event_id = scheduled.event_id
        done = self.add(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
        done.workflow_task_completed_event_attributes.scheduled_event_id = scheduled.event_id
        done.workflow_task_completed_event_attributes.started_event_id = started.event_id
        return done.event_id

    def activity(self, index: int, task: int) -> None:
        scheduled = self.add(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        wish = scheduled.activity_task_scheduled_event_attributes
        wish.activity_id, wish.workflow_task_completed_event_id = str(index + 1), task
        wish.activity_type.CopyFrom(ActivityType(name="inc"))
        wish.task_queue.CopyFrom(QUEUE)
        wish.input.CopyFrom(number(index))
        started = self.add(EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED)
        started.activity_task_started_event_attributes.scheduled_event_id = scheduled.event_id
        done = self.add(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED).activity_task_completed_event_attributes
        done.result.CopyFrom(number(index + 1))
        done.scheduled_event_id, done.started_event_id = scheduled.event_id, started.event_id


def history(count: int, asked: int | None = None) -> WorkflowHistory:
    """A finished run of `count` steps; its input says `asked`."""
    made = History()
    start = made.add(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED).workflow_execution_started_event_attributes
    start.workflow_type.CopyFrom(WorkflowType(name="Sequential"))
    start.task_queue.CopyFrom(QUEUE)
    start.input.CopyFrom(number(count if asked is None else asked))
    start.original_execution_run_id = start.first_execution_run_id = "11111111-1111-4111-8111-111111111111"
    start.attempt = 1
    task = made.workflow_task()
    for index in range(count):
        made.activity(index, task)
        task = made.workflow_task()
    end = made.add(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED).workflow_execution_completed_event_attributes
    end.result.CopyFrom(number(count))
    end.workflow_task_completed_event_id = task
    return WorkflowHistory(workflow_id="replay", events=made.events)


async def main() -> None:
    runners = {
        "Replayer, sandbox (its default)": SandboxedWorkflowRunner(),
        "Replayer, no sandbox": UnsandboxedWorkflowRunner(),
    }
    for how, runner in runners.items():
        replayer = Replayer(workflows=[Sequential], workflow_runner=runner)
        wrong = await replayer.replay_workflow(history(3, asked=2), raise_on_replay_failure=False)
        assert wrong.replay_failure, "a history of another run was replayed"
        for count in sizes(10, 100, 1_000):
            past, times = history(count), []
            for _ in range(5 if count < 1_000 else 3):
                begin = time.perf_counter()
                await replayer.replay_workflow(past)
                times.append(time.perf_counter() - begin)
            row("replay", how, count, times)


asyncio.run(main())
