"""An answer to a suspended step, held against the schema that is known of it before a worker has to refuse it."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from cloche.errors import InvalidInput
from cloche.operations.forms import to_json
from cloche.operations.forms_asked import step_schema
from cloche.operations.replay import row_of
from cloche.run.code import load_code
from cloche.steps.schemas import checked
from cloche.worker.offers import published

if TYPE_CHECKING:
    from cloche.engines import Code
    from cloche.history import RunKey
    from cloche.history.effects import Suspension
    from cloche.store import Store

SCHEMA_CHARS_MAX = 500  # of a schema that a message shows


async def check_pinned_answer(store: Store, key: RunKey, one: Suspension, data: Any, *, is_given: bool) -> None:
    """Hold it against the schema that is pinned with the run, as long as no worker has another version of the workflow: then
    that one decides.

    Raises:
        InvalidInput: it does not fit; nothing was left.
    """
    row = await row_of(store, key)
    code = await load_code(store, row.code)
    offer = (await published(store)).offers.get(row.workflow)
    if offer is None or code.owner or offer.version == _digest(code):
        check_answer(code, one, data, is_given=is_given)


def check_answer(code: Code, one: Suspension, data: Any, *, is_given: bool) -> None:
    """As the run's code says it. Null is no answer that does not fit: a step may look for itself whether it was given one.

    Args:
        is_given: somebody named the data. Otherwise it is null, and refused where the schema asks for something.

    Raises:
        InvalidInput: it does not fit.
    """
    from cloche_codegen.schemas import accepted_adapter

    if data is None and is_given:
        return
    schema = step_schema(code, one.step)
    adapter = accepted_adapter(dict(schema)) if schema is not None else None
    if adapter is None or schema is None:
        return
    try:
        checked(adapter, data, f"the resume data of step '{one.path}'")
    except InvalidInput as error:
        if is_given:
            raise
        form = to_json(schema)
        form = form if len(form) <= SCHEMA_CHARS_MAX else f"{form[: SCHEMA_CHARS_MAX - 1]}…"
        message = f"step '{one.path}' waits for data, and none was given: it takes {form}"
        raise InvalidInput(message, path="", problems=error.problems, problem_count=error.problem_count) from None


def _digest(code: Code) -> str:
    """As `Graph.digest`, of the graph as it is stored."""
    return blake2b(code.graph.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
