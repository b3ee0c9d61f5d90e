"""`cloche explain CODE`: for each error code, what it means, why it happens, and what to do."""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
    "cloche": """
A fault that cloche did not foresee. The run it happened in is blocked; others go on. Please report it with the message
and the output of `cloche doctor`.""",
    "usage": """
A call or a command that cannot be meant: the message names the argument. Nothing was changed.""",
    "invalid-input": """
A value does not fit its schema, or cannot cross the glass. The message names the place (`items[3].price`). Input of a run:
nothing was started. Input of a step: the step failed, and is not retried, because the same value would fail again. Values
that can cross: text, numbers, bytes, aware datetimes, lists, mappings with text keys, pydantic models, dataclasses.""",
    "invalid-result": """
What a workflow returned is not of the type that its return annotation or `output_schema` says, so the run failed. The message
names the place. Mend the workflow or its annotation; `validate_outputs=False` of a workflow turns the check off.""",
    "not-found": """
There is no such run or workflow. `cloche runs` lists what the store holds; runs belong to a tenant (`--tenant`) and a store
(`--store`, `CLOCHE_STORE`).""",
    "run-conflict": """
A run id is one run for ever: the same id with the same input gives that run, with another input it is refused. Choose
another id, or read the run that is there with `cloche show`.""",
    "not-suspended": """
A run was given data or an event that it does not wait for, or was asked to go on and is not paused. The message lists what does
wait: name it with `--step`, `--label` or `--index`. A run that somebody else has resumed meanwhile gives this too: one caller
wins.""",
    "access-refused": """
A server of `cloche serve` was asked without a token that it knows (status 401), or the token's role or tenant does not allow
this (403). The command line sends the token in `CLOCHE_TOKEN`; `cloche token list`, where the store is, shows role, tenant and
expiry of each, and `cloche token create` makes another one.""",
    "refused-by-engine": """
A workflow was added to an engine that keeps runs elsewhere (Inngest, Restate, Temporal), and something in it has no counterpart
there. The message names the node and the reason; `docs/engines/` has the whole table. Change that node, or run the workflow on
a store of cloche's own.""",
    "missing-step": """
An open run asks for a step that this process does not have. The run is blocked, not failed: start a process whose workflows
or `steps=` include the step, under the same id, and the run goes on by itself.""",
    "missing-workflow": """
An open run asks for a child of a workflow that this process does not have. The run is blocked, not failed: start a process
whose workflows include it, under the same id, or deploy it for the tenant, and the run goes on by itself.""",
    "schema-changed": """
A step's schema was changed by a deploy, and an open run has data that fits the schema it began with and not the new one. The
run is blocked, not failed: give the new field a default, or take the change back, and start a process with that; the run goes
on by itself. Data that fits neither schema is the run's own fault, and fails its step.""",
    "foreign-file": """
The file to import was not written by `cloche export`, was damaged on its way, or comes from a newer version. Export the run
again and compare the sizes.""",
    "target": """
TARGET must name a committed workflow: `path/to/file.py:name`, `package.module:name`, or a graph's `.json` together with
`--steps path.py`. Without `:name` the module's only workflow is taken.""",
    "run-failed": """
Raised by `unwrap()`: the run ended without a result. `error` has the failure (name, message, data, cause), `error.step` the
step it came from; `cloche show RUN` prints both, and `cloche log RUN` the traceback of each failed attempt.""",
    "guest-unavailable": """
This installation has no WebAssembly guest. A wheel brings it; a checkout builds it with `make guest`, which needs the way to
PyPI once. The message says which part failed.""",
    "guest-fault": """
The cell of a run was stopped, or said something that is not in its grammar. The run ends with this fault if the same history
always leads here; otherwise it is tried again on a rebuilt cell first.""",
    "held-back": """
An operator has suspended the tenant, or put this version of its code into quarantine: nothing of it is started or driven.
Nothing is lost: its runs, and what waits for them, are in the store, and go on after `cloche tenant reinstate TENANT` or
`cloche tenant release TENANT --version ID`. `cloche tenant list` says what is held back and why.""",
    "limit-exceeded": """
A run went beyond a bound of its tenant's `Policy`: the error says which (`limit`), how much it allows (`value`) and what it
would have taken (`asked`). A run is pinned to the policy it began with: give the tenant another one, and start again.""",
    "not-granted": """
The tenant's `Policy` does not allow this step, this input for it, or this child workflow. A step that does not exist fails in
the same way. Add a `Grant` to `Policy.steps`, or the workflow's id to `Policy.child_workflows`.""",
    "fuel-exhausted": """
One event made the workflow compute longer than its limit (`fuel_per_event` of its policy, about one unit for a wasm
instruction), or its code did while it was loaded (`fuel_per_load`).
Usually an endless loop. Work that takes long belongs in a step; limits are pinned when a run starts.""",
    "time-exhausted": """
A turn ran longer than its wall time (`Limits.wall_ms_per_event`) without using up its fuel. It was tried three times, each
on a rebuilt cell, before this was recorded. Usually the machine was overloaded.""",
    "memory-exhausted": """
The workflow asked for more memory than its limit (`Limits.memory_bytes`). Keep large data in steps or in storage of your own
and pass references through the workflow.""",
    "stack-exhausted": """
Calls were nested deeper than the native stack. Ordinary recursion in workflow code raises a RangeError instead, which the
workflow can catch; this is the line after that one.""",
    "guest-trapped": """
WebAssembly stopped the guest (an unreachable instruction, memory out of bounds). With the guest that cloche ships this is a
defect: please report it with an export of the run.""",
    "malformed-output": """
The guest wrote bytes that are not in the grammar of `guest/ABI.md`. They were checked before anything was built from them
and nothing was done. With the guest that cloche ships this is a defect: please report it.""",
    "output-too-large": """
One event led to more than 6 MiB of commands, or more than 100,000 of them. Start fewer steps at a time (`foreach` with
`concurrency`), and pass references to large data.""",
    "deploy-refused": """
Code that a tenant brought was not kept: its source does not load, its graph has problems, or it met a limit while it was loaded
under glass. `reason` is the code of what is wrong (`load-failed`, `fuel-exhausted` ...), `line` where in the source.""",
    "compile": """
TypeScript or JavaScript with "use workflow" that cannot be run as it is: the message has file, line and column of each problem,
and what to write instead. What a workflow imports must do without Node.js; what needs it belongs in a function with "use step".
`cloche compile FILE` shows all problems, and what runs under glass.""",
    "start-refused": """
A worker was asked to start a run, and the workflow's `on_start` raised there: the message has what. Nothing was started; the
same request may be made again.""",
    "queue-full": """
So many runs of the tenant wait to begin that no more are taken (`queued_runs` of its policy). Nothing was started: try again
when some have begun, or give the tenant more `concurrent_runs`.""",
    "inbox-full": """
So many events wait for the run, or for all runs of its tenant, that this one was not kept: `waiting_events`,
`waiting_event_bytes`, and the same with `tenant_` before it, of the policy. Nobody waits for them: look at the names with which
they are sent. Send it again when some were taken, or give the tenant another policy for new runs.""",
    "cell-lost": """
The process that holds the tenant's cells (`ProcessEngine`, `--isolation process`) ended, did not answer, or answered out of
form while it was at work for this run. The run was rebuilt in a new process and tried again; this was recorded when it had
happened three times running. A workflow that can do that has found a fault in wasmtime or in cloche: please report it.""",
    "cell-gone": """
The process that held the tenant's cells ended while the cell rested: memory was short, or somebody ended it. The run is rebuilt
in a new process. Only a tool that works on a single cell ever says so.""",
    "load-failed": """
The workflow's code could not be evaluated: a code string is not JavaScript, or it raised while the module was loaded. The
message names the place; `cloche codegen TARGET --map` shows the line and its node.""",
    "history": """
A record cannot follow the one before it, or something a run needs is not in the store. The run is blocked and its history is
kept as it is: run `cloche verify`.""",
    "divergence": """
Replay asked for something else than the history says: the code is not the code of that run. With the run's own code that does
not happen; with `cloche replay --with TARGET` it tells that today's code does not fit this run. The report names the record,
both commands, and what differs in them.""",
    "checkpoint-rejected": """
A saved cell was not what it should be: made on another machine or by another user, for other code, damaged, or in
contradiction to what follows it in the log. Nothing is lost: the run was replayed in full instead, and that checkpoint is not
looked at again. The file <store>-checkpoints may be deleted at any time.""",
    "broken-chain": """
A record is not the one that was written: its bytes do not match its hash, or its hash not its neighbour's. Somebody or some
disk changed the file. The run is blocked; restore the store from a copy, and see `cloche verify` for all that is hit.""",
    "store": """
The store refused or failed. The message says what happened to which file; the more precise codes are `store-unavailable`,
`leased-elsewhere`, `lease-lost`, `foreign-store`, `damaged-store` and `seq-conflict`.""",
    "seq-conflict": """
Somebody else appended to this run first. Leases keep workers from it; the run is loaded again and goes on from its end.""",
    "leased-elsewhere": """
Another worker executes this run just now; the message names it. What you want of the run is asked of that worker through the
store (`resume`, `event`, `cancel` do it by themselves); when that worker ends or dies, its runs are taken over.""",
    "lease-lost": """
This worker was silent for longer than its lease (it hung, was stopped, or could not write), and another one has its runs now.
What it still brought for them was refused, so nothing is recorded twice. Steps that it was running may have been run again.""",
    "store-unavailable": """
The store's file did not take or give data: it is missing, locked for long, its disk is full, or reading failed. Nothing was
written half. Runs wait and try again by themselves; free the disk or unlock the file.""",
    "store-full": """
The disk of the store is full. Nothing was written half, and no step that ran is run again for it: runs keep what they have and
try again by themselves until there is room.""",
    "store-refused": """
A database server that cannot keep what it acknowledges, or does not let this user in: it runs with `fsync` or
`synchronous_commit` off, it is a standby, its version is too old, or the password, the rights or the encryption do not fit. The
message says which, and what to set. Nothing was written.""",
    "store-failed": """
The disk did not confirm a write (fsync failed). Nobody can say what of it is there, so this process stops using the store:
end it, look at the disk, start again. What was acknowledged is checked when the store is opened.""",
    "foreign-store": """
The file is not a cloche store, or was written by a newer cloche. Nothing was changed in it. Name another with `--store`, or
upgrade.""",
    "damaged-store": """
The file is a cloche store that SQLite can no longer read. Keep a copy as it is, then run `cloche verify` on it: runs whose
records can be read can be exported, and imported into a new store.""",
    "graph": """
The workflow cannot be committed, stored or loaded as it is. Every problem is listed with its place (`workflow/node`) and a
code of its own in brackets.""",
}


# What is wrong with a workflow before it runs: the codes in brackets.
PROBLEMS: dict[str, str] = {
    "ambiguous_text": "A plain text in a `map` could be a value, a template or a path: say which, as the message shows.",
    "bad_arm": "An arm of `branch` or `choose` is a pair `(condition, step)`.",
    "bad_callback": "`on_start`, `on_finish` and `on_error` are functions; the message has what was given.",
    "bad_code": "A code string is one JavaScript expression, such as `inputData.score > 80`; this one cannot be read as one.",
    "bad_condition": "A condition is a function, an expression (`path(…)`, `refs(…)`), a code string or a predicate as data.",
    "bad_event": "The name of an event is 1 to 200 characters of text without control characters.",
    "bad_function": "A function in a stored graph is not as cloche writes it: store the graph again from its workflow.",
    "bad_graph": "A stored graph is not in the form that `graph.to_json()` writes; the message has the place.",
    "bad_id": "An id is text of 1 to 200 characters, without a slash, without control characters, and no space around it.",
    "bad_limit": "A limit has a name, a whole number from 1 (`most`) and perhaps a `key`: `Concurrency('gpu', 2)`.",
    "bad_path": "A path names fields that are there: `inputData.a.b`, `state.x`, `steps.ID.field`. The message has the part.",
    "bad_policy": "`min_successes` and `tolerated_failures` are whole numbers that can be met by as many arms as there are.",
    "bad_schema": "A schema is a type or a pydantic model. The message has the annotation that cannot be read as one.",
    "bad_step": "A step is a function with an id: `@step`, `@step(id=…)` or `create_step(id=…, execute=…)`.",
    "bad_template": "A template of a `map` names paths in `${…}`; the message has the part that is none.",
    "bad_text": "A text in a graph cannot be stored: it has half of a character in it (a lone surrogate).",
    "bad_value": "A value cannot stand here: the message says what is taken. Durations are seconds, a timedelta or `3 days`.",
    "bad_workflow": "A native workflow is an async function: `@workflow` or `@workflow(id=…)` above `async def`.",
    "code_in_python": "Code strings are JavaScript: a graph with one cannot run in the Python guest. Write a Python function.",
    "committed": "A workflow cannot change after `commit()`: begin another one, or use `clone_workflow`.",
    "duplicate_id": "Two nodes have one id: give one another with `id=`, `clone_step` or `clone_workflow`.",
    "empty_block": "A `parallel`, `branch` or `choose` has no arms.",
    "empty_graph": "A workflow has at least one node: `.then(step)`.",
    "expression_as_bool": "`and`, `or`, `not` cannot be seen in an expression: write `&`, `|`, `~`, with parentheses.",
    "function_in_javascript": 'A Python function runs in the Python guest. Leave `guest="auto"`, or write an expression.',
    "host_closures": 'A function can only run on the host, which `mode="host-closures"` and the tenant\'s policy must allow.',
    "naive_datetime": "A moment needs a time zone: `datetime(…, tzinfo=timezone.utc)`.",
    "native_workflow": "A workflow that is a function has no builder: call steps and other workflows in it.",
    "no_list": "`parallel` takes a list of steps, `branch` and `choose` one of pairs: write `parallel([a, b])`.",
    "not_a_list": "`foreach` takes a list, and what flows in is none: put a `map` before it.",
    "not_a_step": "Only steps and committed workflows stand in a graph: put `@step` above the function, and do not call it.",
    "not_committed": "A workflow is used before it is complete: end it with `.commit()`.",
    "not_preceding": "A step is asked for its result where it has not run yet: ask after it.",
    "predicate_too_deep": "Conditions are nested deeper than 64: take parts of them into a function.",
    "python_function": "A function cannot go under glass: the message has file and line, what is in the way, and what to do.",
    "schema_misfit": "What one node gives does not fit what the next one takes: put a `map` between them, or change a schema.",
    "two_definitions": "Two different things have one name in one workflow: give one of them another.",
    "unknown_format": "The graph was stored by a newer version of cloche: read it with that one.",
    "unknown_reference": "A name is asked for that is not there; the message lists what there is.",
    "workflow_cycle": "A workflow stands in itself. To go on with another run of it, start a child.",
}


def explanation(code: str) -> str | None:
    """The page for a code, the code of a problem of a graph, or the name of an error (`MissingStep`); None if there is none."""
    text = EXPLANATIONS.get(code) or PROBLEMS.get(code.strip("[]")) or EXPLANATIONS.get(_code_of(code))
    return text.strip() if text else None


def _code_of(name: str) -> str:
    """The code of the error of this name."""
    from cloche import errors

    kind = getattr(errors, name, None)
    code = getattr(kind, "code", None) or _AS.get(name, "")
    return str(code)


_AS = {"GraphError": "graph", "UnknownReference": "graph", "NotCommitted": "graph"}
