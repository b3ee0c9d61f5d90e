"""Durations and instants, written down and computed."""

from datetime import UTC, datetime, timedelta, timezone

from codegen.steps_for_tests import free

from cloche_codegen import code, create_workflow, path

workflow = (
    create_workflow(id="sleeps")
    .sleep(1.5)
    .sleep(timedelta(days=3), id="days")
    .sleep(-5)
    .sleep(0.0001)
    .sleep(path("inputData.delay"))
    .sleep("inputData.retries * 60")
    .sleep_until(datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=UTC))
    .sleep_until(datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=2))), id="new-year")
    .sleep_until(path("initData.due"))
    .sleep_until(code("new Date(inputData.due + 1000)"))
    .then(free("last"))
    .commit()
)
