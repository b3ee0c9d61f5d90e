"""`SyncCloche`: the names of `Cloche` without async, for scripts, notebooks, Flask and Django.

A thread of its own has the event loop on which everything runs; each call waits in the caller's thread until its answer is
there. Calls may come from any number of threads.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from cloche.client.cloche import Cloche
from cloche.client.runs import Run
from cloche.client.schedules import Schedules
from cloche.client.tenants import Tenant
from cloche.errors import UsageError
from cloche.run.results import RunResult
from cloche_codegen.variables import In, Out

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Unpack

    from cloche.client.evaluation import Evaluation
    from cloche.client.records import RunRecord
    from cloche.client.tenant_runs import StartOptions
    from cloche.operations.picture import RunPicture
    from cloche.store import Version
    from cloche_codegen import Workflow

T = TypeVar("T")
_END: Any = object()
_CLOSED: Any = None  # the loop of one that is not open


class BackgroundLoop:
    """An event loop in a thread, which ends with `close` or with the process."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cloche", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives or raises. An interrupt of the caller cancels it.

        Raises:
            UsageError: the call comes from the loop itself, which would wait for itself; or from a process that was forked
                off, which has no such thread.
        """
        trouble = None
        if threading.current_thread() is self._thread:
            trouble = "this waits, and was called on the loop that would answer: in an async step use ctx, or a Cloche"
        elif self._process != os.getpid():
            trouble = "this SyncCloche was opened before the process was forked: open it in the worker process, after the fork"
        if trouble is not None:
            work.close()
            raise UsageError(trouble)
        answer = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return answer.result()
        except BaseException:
            answer.cancel()
            raise

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items, as they come."""

        async def following() -> T:
            return await anext(items, _END)

        async def ended() -> None:
            if inspect.isasyncgen(items):
                await items.aclose()

        try:
            while (item := self.run(following())) is not _END:
                yield item
        finally:
            self.run(ended())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Blocking:
    """Has the names of `of`: what is awaited there is waited for here, and handles that come back are of this kind too."""

    def __init__(self, of: Any, loop: BackgroundLoop) -> None:
        self._of = of
        self._background = loop

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        found = getattr(self._async(), name)
        if isinstance(found, Schedules):
            return BlockingPart(self, found)
        return self._waiting(found) if inspect.isroutine(found) else found

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in dir(type(self._of)) if not name.startswith("_"))})

    def __repr__(self) -> str:
        return f"Sync{self._of!r}"

    def _async(self) -> Any:
        return self._of

    def _waiting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **options: Any) -> Any:
            answer = method(*arguments, **options)
            if inspect.iscoroutine(answer):
                answer = self._background.run(answer)
            if inspect.isasyncgen(answer):
                return self._background.each(answer)
            return self._handle(answer)

        return call

    def _handle(self, answer: Any) -> Any:
        if isinstance(answer, Run):
            return SyncRun(answer, self._background)
        return Blocking(answer, self._background) if isinstance(answer, Tenant) else answer


class BlockingPart:
    """The methods of a part of what `whole` stands for, such as `app.schedules`, each waited for as those of the whole."""

    def __init__(self, whole: Blocking, of: Any) -> None:
        self._whole = whole
        self._of = of

    def __getattr__(self, name: str) -> Any:
        return self._whole._waiting(getattr(self._of, name))

    def __dir__(self) -> list[str]:
        return dir(self._of)


class SyncRun(Blocking, Generic[Out]):
    """A `Run` without async: `id`, `result()`, `status()`, `resume(…)`, `cancel()`, `stream()`, and all other names of one."""

    if TYPE_CHECKING:

        @property
        def id(self) -> str: ...
        def result(self, *, final: bool = False) -> RunResult[Out]: ...
        def resume(self, *, step: Any = None, resume_data: Any = None, **options: Any) -> RunResult[Out]: ...
        def status(self) -> str: ...
        def cancel(self) -> None: ...
        def history(self, from_seq: int = 0) -> list[RunRecord]: ...
        def stream(self, from_seq: int | tuple[int, int] = 0, *, final: bool = False) -> Iterator[RunRecord]: ...
        def picture(self) -> RunPicture: ...

    def _repr_html_(self) -> str:
        return self.picture().html


class SyncCloche(Blocking):
    """A `Cloche` without async; a context manager, or `open()` and `close()` where there is no block to stand in.

    Arguments and names are those of `Cloche`; what is an async iterator there is an iterator here. Open it in the process that
    uses it, after a fork. SIGTERM is left to the program: leaving, or `close()`, drains.

    Raises (on opening):
        StoreError: the store cannot be opened; the message says why.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(Cloche(*arguments, **{"handle_sigterm": False, **options}), _CLOSED)

    def open(self) -> Self:
        """Begin to work. Opening again changes nothing."""
        if self._background is _CLOSED:
            loop = BackgroundLoop()
            try:
                loop.run(self._of.__aenter__())
            except BaseException:
                loop.close()
                raise
            self._background = loop
        return self

    def close(self) -> None:
        """Drain, as leaving a `Cloche` does. Closing again changes nothing."""
        loop, self._background = self._background, _CLOSED
        if loop is not _CLOSED:
            try:
                loop.run(self._of.__aexit__(None, None, None))
            finally:
                loop.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _waiting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        if self._background is _CLOSED and inspect.iscoroutinefunction(method):
            raise UsageError("this SyncCloche is not open: use it as 'with SyncCloche(…) as app:', or call open()")
        return super()._waiting(method)

    if TYPE_CHECKING:

        @overload
        def start(
            self, workflow: Workflow[In, Out], input_data: In | Mapping[str, Any], **options: Unpack[StartOptions]
        ) -> SyncRun[Out]: ...
        @overload
        def start(
            self, workflow: Workflow[None, Out], input_data: None = None, **options: Unpack[StartOptions]
        ) -> SyncRun[Out]: ...
        @overload
        def start(
            self, workflow: str | Version, input_data: Any = None, **options: Unpack[StartOptions]
        ) -> SyncRun[Any]: ...
        def start(self, workflow: Any, input_data: Any = None, **options: Any) -> SyncRun[Any]: ...
        def get(self, run_id: str) -> SyncRun[Any]: ...
        def evaluate(self, tenant: str, source: str, input_data: Any = None, **options: Any) -> Evaluation: ...
