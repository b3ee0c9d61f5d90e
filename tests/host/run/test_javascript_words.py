"""Words of JavaScript workflows: `cloche.setTags`, `setDeadline`, `createHook`, `continueAsNew`."""

from __future__ import annotations

from typing import Any

import pytest
from support.apps import in_loop, until

from cloche import Cloche, NotFound, Policy
from cloche.store import MemoryStore

HOOKS = """
export default async function flow(input) {
  cloche.setTags({ customer: "c-17", n: input.n, gone: null });
  cloche.setDeadline(3600000);
  const hook = cloche.createHook({ token: "tok-" + input.n });
  const own = cloche.createHook();
  const all = [await hook];
  for await (const value of hook) {
    all.push(value);
    if (all.length === 3) break;
  }
  let twice = "";
  try { cloche.createHook({ token: own.token }); } catch (error) { twice = error.name; }
  own.close();
  let closed = "";
  try { await own; } catch (error) { closed = error.message; }
  if (input.n < 2) return await cloche.continueAsNew({ n: input.n + 1, all });
  return { all, before: input.all, token: own.token.length, twice, closed };
}
"""
WRONG = """
export default async function flow(call) {
  try { new Function("cloche", call)(cloche); } catch (error) { return error.name + ": " + error.message; }
}
"""


async def resumed(app: Cloche, token: str, payload: Any) -> bool:
    try:
        await app.tenant("acme").resume_hook(token, payload)
    except NotFound:
        return False
    return True


@in_loop
async def test_a_run_says_its_tags_and_deadline_takes_payloads_and_goes_on_as_new() -> None:
    async with Cloche(MemoryStore(), policies={"acme": Policy()}) as app:
        await app.deploy("acme", HOOKS, workflow="flow", language="javascript")
        run = await app.tenant("acme").start("flow", {"n": 1}, run_id="r")
        for number in (1, 2):
            for payload in range(3):
                await until(lambda n=number, p=payload: resumed(app, f"tok-{n}", p))  # type: ignore[misc]
        result = await run.result()
        assert result.unwrap() == {
            "all": [0, 1, 2],
            "before": [0, 1, 2],
            "token": 32,
            "twice": "HookConflict",
            "closed": "the hook is closed: nothing more comes for it",
        }
        assert result.tags == {"customer": "c-17", "n": 2}
        assert result.deadline is not None
        assert (await app.tenant("acme").get("r")).id == "r"
        for number in range(2):
            assert (await app.tenant("acme").replay(f"r › n{number}" if number else "r")).divergence is None


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("cloche.setTags()", "TypeError: setTags takes an object"),
        ("cloche.setTags({})", "TypeError: setTags takes 1 to 64 tags at a time, not 0"),
        ("cloche.setTags({ a: [1] })", "TypeError: tag a is no text of 1 to 200 characters, number, boolean or null"),
        ('cloche.setDeadline("soon")', "TypeError: setDeadline takes a Date, or milliseconds from now"),
        ('cloche.createHook({ token: "" })', "TypeError: the token and the name of a hook are texts"),
    ],
)
@in_loop
async def test_wrong_use_is_told_at_once(call: str, told: str) -> None:
    async with Cloche(MemoryStore(), policies={"acme": Policy()}) as app:
        await app.deploy("acme", WRONG, workflow="flow", language="javascript")
        result = await (await app.tenant("acme").start("flow", call)).result()
    assert str(result.unwrap()).startswith(told)


@in_loop
async def test_a_run_that_goes_on_for_ever_is_canceled() -> None:
    """Each history goes on in its first turn, before it could be told: the next one does not begin."""
    async with Cloche(MemoryStore(), policies={"acme": Policy.strict()}) as app:
        body = "export default async (input) => { await cloche.continueAsNew((input || 0) + 1); };"
        await app.deploy("acme", body, workflow="flow", language="javascript")
        acme = app.tenant("acme")
        run = await acme.start("flow", 0, run_id="r")
        await until(acme.list, lambda rows: len(rows) > 3)
        await run.cancel()
        assert (await run.result()).status == "canceled"
        count = len(await acme.list())
        assert sum(row.status != "continued" for row in await acme.list()) == 1
        assert len(await acme.list()) == count
        assert (await app.verify()).ok
