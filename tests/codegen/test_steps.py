"""Steps: schemas out of annotations, the context, clones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from cloche_codegen import GraphError, RetryConfig, Step, clone_step, create_step, create_workflow, step


class Numbers(BaseModel):
    x: int


def test_the_decorator_reads_name_docstring_and_annotations() -> None:
    @step
    async def double(data: Numbers) -> Numbers:
        """Twice the number.

        And more words.
        """
        return Numbers(x=data.x * 2)

    assert isinstance(double, Step)
    assert (double.id, double.description) == ("double", "Twice the number.")
    assert (double.input_schema, double.output_schema) == (Numbers, Numbers)
    assert (double.is_async, double.takes_context) == (True, False)


def test_annotations_may_name_classes_of_the_function_around() -> None:
    class Local(BaseModel):
        y: int

    @step(id="local", retries=2)
    def local(data: Local, ctx: Any) -> list[Local]:
        return [data]

    adapter = local.output_adapter()
    assert adapter is not None
    assert adapter.validate_python([{"y": "3"}]) == [Local(y=3)]
    assert local.output_adapter() is adapter
    assert (local.retries, local.takes_context, local.is_async) == (2, True, False)
    assert local.execute(Local(y=1), None) == [Local(y=1)]


def test_given_schemas_win_over_annotations() -> None:
    made = create_step(id="a", execute=lambda data: data, input_schema={"type": "object"}, output_schema=int)
    taken, adapter = made.input_adapter(), made.output_adapter()
    assert taken is not None
    assert adapter is not None
    assert (taken.validate_python({"a": 1}), adapter.validate_python("3")) == ({"a": 1}, 3)
    spec = create_workflow(id="w").then(made).commit().graph.steps["a"]
    assert (spec.input_schema, spec.output_schema) == ({"type": "object"}, {"type": "integer"})


def test_nothing_is_known_without_annotations() -> None:
    made = create_step(id="a", execute=lambda data, ctx: data)
    assert (made.input_adapter(), made.output_adapter(), made.takes_context) == (None, None, True)

    @step
    def nothing(data: Any) -> None: ...

    assert nothing.input_adapter() is None
    assert nothing.output_schema is type(None)


def test_a_second_parameter_with_a_default_is_not_the_context() -> None:
    assert not create_step(id="a", execute=lambda data, flag=False: data).takes_context
    assert not create_step(id="a", execute=lambda *data: data).takes_context


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"execute": 3}, "a: execute must be a function, not int"),
        ({"execute": lambda d: d, "retries": -1}, "a: retries must be a whole number from 0, not -1"),
    ],
)
def test_what_is_no_step_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=f"^{message}$"):
        create_step(id="a", **options)


def test_an_annotation_that_leads_nowhere_is_told() -> None:
    def lost(data: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Its annotation names nothing."""

    with pytest.raises(GraphError) as caught:
        step(lost)
    assert str(caught.value) == (
        "lost: the annotation 'Nowhere' cannot be resolved (name 'Nowhere' is not defined); define the type at module "
        "level, or pass input_schema= and output_schema="
    )


def test_a_schema_pydantic_cannot_make_is_told() -> None:
    class Plain:
        pass

    made = create_step(id="a", execute=lambda data: data, input_schema=Plain)
    with pytest.raises(GraphError, match=r"^a: pydantic has no schema for <class .*Plain'>: Unable to generate"):
        made.input_adapter()


def test_a_clone_is_the_same_under_another_id() -> None:
    one = create_step(id="a", execute=lambda d: d, retry_config={"attempts": 3, "delay_s": 1.5, "factor": 2})
    other = clone_step(one, id="b")
    assert other.id == "b"
    assert other.execute is one.execute
    assert other.retry_config == RetryConfig(attempts=3, delay_s=1.5, factor=2)
    assert one != other


def test_errors_to_retry_are_kept_by_name() -> None:
    class Mine(ValueError):
        pass

    config = RetryConfig(attempts=2, retry_on=(ValueError, "TimeoutError"))
    assert config.retry_on == ("ValueError", "TimeoutError")
    assert [config.covers(error) for error in (Mine(), TimeoutError(), KeyError())] == [True, True, False]
    assert RetryConfig(retry_on=OSError).retry_on == ("OSError",)
    assert RetryConfig(retry_on={TypeError, KeyError}).retry_on == ("KeyError", "TypeError")
    assert RetryConfig().covers(KeyError())
    assert RetryConfig.model_validate_json(config.model_dump_json()) == config
    graph = (
        create_workflow(id="w", retry_config={"attempts": 1, "retry_on": [Mine]})
        .then(step(lambda data: data))
        .commit()
        .graph
    )
    assert json.loads(graph.to_json())["retry_config"]["retry_on"] == ["Mine"]
    for wrong in (int, "", 3):
        with pytest.raises(ValueError, match="retry_on"):
            RetryConfig(retry_on=wrong)
