"""`Tenant`: the runs of one tenant where they are executed, and the code it has deployed.

One process serves many tenants on one store.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from cloche.client import evaluation
from cloche.client.client import TenantRuns
from cloche.client.in_turn import in_turn
from cloche.client.replays import Replays
from cloche.client.runs import Run
from cloche.client.tenant_runs import Runs
from cloche.engines import CellSource, Code, Language, SourceLanguage
from cloche.errors import DeployRefused, LeasedElsewhere, LimitExceeded, NotFound, RunConflict, SeqConflict, UsageError
from cloche.history import RunKey
from cloche.history.ids import new_run_key
from cloche.operations import acts, fork, replay, upgrade
from cloche.operations.acts import Act
from cloche.operations.deploy import Deployment, baked, check_content, grants_to_write, keep, source_code, version_id
from cloche.operations.files import bundled
from cloche.operations.replay import ReplayReport
from cloche.operations.typescript import Brought, is_script
from cloche.operations.upgrade import FitPage
from cloche.run.code import code_of, load_code
from cloche.store import Version, all_records, blob_digest
from cloche.tenancy import InForce, Policy
from cloche.worker import holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloche.worker.worker import Worker
    from cloche_codegen import Graph, Step, Workflow


log = logging.getLogger("cloche")


class Host(Protocol):
    """What executes the runs of these handles."""

    @property
    def engine(self) -> CellSource: ...

    @property
    def _running(self) -> Worker:
        """
        Raises:
            UsageError: it is not open.
        """

    def policy_of(self, tenant: str, *, is_deployed: bool = False) -> Policy: ...

    @property
    def policies(self) -> InForce: ...

    @property
    def replays(self) -> Replays: ...


class HostedRuns(Runs):
    """The runs of one tenant in a process that executes runs."""

    _host: Host

    @property
    def policy(self) -> Policy:
        """What new runs of this tenant are pinned to, of workflows that are registered."""
        return self._host.policy_of(self._tenant)

    @property
    def deployed_policy(self) -> Policy:
        """What new runs of this tenant are pinned to, of code that it has deployed."""
        return self._host.policy_of(self._tenant, is_deployed=True)

    @in_turn
    async def fork(self, run_id: str, *, at: str, input_data: Any = fork.SAME, new_run_id: str | None = None) -> Run:
        """A new run with the history of `run_id` up to its last call of step `at`, which runs (again) in the new one.

        Nothing before `at` is executed again, and the old run is not touched. `input_data` is what the step gets instead.

        Raises:
            NotFound: there is no such run.
            UsageError: it never called such a step, or its input cannot be replaced.
            LimitExceeded: its code or input are more than the tenant's policy allows today.
            QueueFull: its workflow has a limit, and too many runs of the tenant wait to begin.
        """
        worker = self._host._running
        store = worker.store
        row = await replay.row_of(store, self._key(run_id))
        records = await all_records(store, row.key)
        inputs = fork.inputs_before(records, at, input_data)
        key = new_run_key(new_run_id or worker.services.world.run_id(), self._tenant)
        if await store.run(key) is not None:
            raise _exists(key)
        try:
            await worker.new_runs.retries.fork(key, row, records, inputs, at)
        except SeqConflict as error:
            raise _exists(key) from error
        return await self._run(row, key)

    @in_turn
    async def replay(self, run_id: str, workflow: Workflow | None = None) -> ReplayReport:
        """Feed a run's history to a fresh cell, of its own code or of `workflow`'s, and compare.

        Asked again of a run that nothing was added to, it answers as before. `verify` reads every record each time.

        Raises:
            NotFound: there is no such run.
            HistoryError: its history is damaged.
        """
        engine = self._host.engine
        code = code_of(workflow, engine) if workflow is not None else None
        return await self._host.replays.replay(self.connection.store, self._key(run_id), engine, code)

    async def check_open(
        self, workflow: str, *, version: str | None = None, most: int = 20, after: str | None = None
    ) -> FitPage:
        """Hold open runs of a workflow against what it would start with now, or a version: up to `most`, the newest first.

        `after` is `next` of the page before. Nothing is changed.

        Raises:
            NotFound: there is no such version; and the workflow is not registered here, and nothing of it is deployed.
            UsageError: the version is another workflow's, or no page has given `after`.
        """
        store, engine = self.connection.store, self._host.engine
        found = await store.version_of(self._tenant, version or workflow)
        if found is not None:
            code = await load_code(store, found.digest)
        elif version is None and (registered := self._host._running.registry.workflow(workflow)) is not None:
            code = code_of(registered, engine)
        else:
            raise NotFound(f"there is no code of workflow '{workflow}' here", kind="workflow", id=version or workflow)
        if code.workflow != workflow:
            raise UsageError(f"version '{version}' is of workflow '{code.workflow}', not of '{workflow}'")
        return await upgrade.fits_page(store, engine, code, self._tenant, most, after)

    async def upgrade(self, run_id: str, workflow: Workflow, *, by: str = "") -> ReplayReport:
        """Let a run at rest go on under the code that `workflow` has today, if that leads its whole history again.

        `by` is who does it, for the audit log.

        Raises:
            NotFound: there is no such run.
            Divergence: it does not; the run is as it was.
            LeasedElsewhere: the run is being executed: wait until it comes to rest.
            UsageError: it has ended, or is another workflow's.
        """
        worker, engine, key = self._host._running, self._host.engine, self._key(run_id)
        if key in worker.drivers:
            raise LeasedElsewhere(f"run {run_id} is being executed here: wait until it comes to rest", run_id=run_id)
        code = code_of(workflow, engine)
        now = worker.services.world.now()
        report = await upgrade.upgrade(worker.store, engine, key, code, worker.name, now, by)
        worker.claims.expect(now)
        return report

    def registered(self, id: str) -> Workflow:
        """The workflow that is registered here under this id.

        Raises:
            UsageError: there is none.
        """
        found: Any = self._host._running.registry.workflow(id)
        if found is None:
            raise UsageError(f"no workflow '{id}' is registered here")
        known: Workflow = found
        return known

    def codes(self) -> set[str]:
        """The digests of what runs that begin here now are pinned to, of each workflow: see `RunRow.code`."""
        workflows = self._host._running.registry.workflows()
        return {blob_digest(code_of(one, self._host.engine).pack()) for one in workflows if one.committed}


class Tenant(TenantRuns, HostedRuns):
    """What one tenant can do: by `Cloche.tenant`."""

    def __init__(self, runs: Runs, host: Host, id: str) -> None:
        super().__init__(lambda: runs.connection, id)
        self._host = host

    async def _look(self) -> None:
        worker = self._host._running
        await worker.look_at_holds()
        await worker.inbox.look()
        worker.claims.expect(worker.services.world.now())

    @in_turn
    async def deploy(
        self,
        content: str | Graph | None = None,
        *,
        workflow: str | None = None,
        language: SourceLanguage | None = None,
        files: Mapping[str, str | bytes] | None = None,
        main: str = "main.py",
        by: str = "",
    ) -> Version:
        """Keep code that was brought at run time; `start` takes its version, or its workflow for the last one deployed.

        Steps that the source names and the tenant's policy does not grant are logged as a warning, with the `Grant` to write.
        It is read and loaded once, in a process of the tenant's own, within limits, and pinned in the store with its guest: a
        later process needs the steps alone. The same content is the same version. Runs go on under what they began with.

        Args:
            content: a graph, as model or JSON; or with `language` the source of a workflow: an ES module whose default export
                is the workflow, a Python module with a `@workflow`, or TypeScript (also JavaScript) with "use workflow".
            workflow: its id; needed for source. Of TypeScript the name of the function, needed where there are several.
            files: in place of `content` the files of a workflow by their paths. In Python: modules it imports
                (`shop/prices.py`), data, pure-Python wheels (`.whl`). In TypeScript: what it imports, `node_modules/` too.
            main: which of them has the workflow.
            by: who brings it, for the audit log.

        Raises:
            HeldBack: the tenant is suspended.
            DeployRefused: it is no such code, does not load, or met a limit: the message has line and reason. Nothing was kept.
            GuestUnavailable: no process can be started to read it in.
        """
        brought: Any = content
        if files is not None and (language == "typescript" or is_script(main)):
            brought, language = Brought.checked(files, main), "typescript"
        elif files is not None:
            brought, language = bundled(files, main), "python"
        check_content(brought, workflow)
        one = Deployment(self._tenant, brought, workflow, language, self.deployed_policy, by)
        worker = self._host._running
        await holds.check(worker.store, self._tenant)
        await self._has_deploy()
        version, not_granted = await self._keep(one)
        _tell_not_granted(version, not_granted)
        await worker.inbox.look()  # somebody may have asked for a run of it already
        return version

    async def evaluate(
        self,
        source: str,
        input_data: Any = None,
        *,
        steps: Iterable[Step | str] = (),
        policy: Policy | None = None,
        language: Language = "python",
        run_id: str | None = None,
    ) -> evaluation.Evaluation:
        """Run code that a program wrote, a language model say, and return what came of it: deploy, start and result in one.

        What is wrong with the code is no exception, but a `problem` of the answer, with line and what to do. The run is durable
        and metered like any other. A text that was run before is not read again; the last 100 stay deployed as versions of
        workflow `evaluate`.

        Args:
            source: a Python module with an `async def main(…)`, or another workflow marked with `@workflow`; or an ES module
                whose default export is the workflow.
            input_data: what it is called with; it has no schema.
            steps: what it may call, beside what `policy` grants: steps, or ids of registered ones. They are there as
                functions of their names (`send-mail` as `send_mail`). Where another process is to go on with the run, it needs
                them too: `Cloche(steps=[…])`.
            policy: what this run may take; `Policy.strict()` if none is given. Bounds on all runs of the tenant together stay
                those of the tenant's own policy.
            run_id: the same id with the same code and input is the same run.

        Raises:
            HeldBack: the tenant is suspended, or this code in quarantine.
            UsageError: two steps have one id; the input cannot cross; the run id is another run's.
            QueueFull, StoreError, GuestUnavailable: nothing was started.
        """
        check_content(source, None)
        steps = list(steps)
        bounds = evaluation.granted((policy or Policy.strict()).within(self._host.engine.limits()), steps)
        text = evaluation.with_names(source, language, steps)
        self._host._running.registry.register([], [step for step in steps if not isinstance(step, str)])
        one = Deployment(self._tenant, text, evaluation.WORKFLOW, language, bounds, by="evaluate")
        try:
            run = await self._begun(one, run_id, input_data)
        except DeployRefused as error:
            return evaluation.refusal(error, source, steps)
        answer = evaluation.answer(await run.result(), source, steps)
        printed = evaluation.printed_in(await run.history())
        return replace(answer, printed=printed, usage=await self._usage(run.id))

    @in_turn
    async def _begun(self, one: Deployment, run_id: str | None, input_data: Any) -> Run[Any]:
        """A run of this source, under its policy. Raises as `evaluate`, and as `_kept`."""
        worker = self._host._running
        key = new_run_key(worker.services.world.run_id() if run_id is None else run_id, self._tenant)
        await holds.check(worker.store, self._tenant)
        await worker.new_runs.start_code(key, await self._kept(one), one.policy, input_data)
        return Run(self, key, None)

    async def _has_deploy(self) -> None:
        """Wait until the tenant may have something read again."""
        counters, most = self._host._running.starting.counters, self.deployed_policy.deploys_per_second
        if wait_s := counters.take(self._tenant, "deploys_per_second", most, 1):
            await asyncio.sleep(wait_s)

    async def _keep(self, one: Deployment) -> tuple[Version, tuple[str, ...]]:
        """Read and load it, and keep it; with the steps that it names and may not call.

        Raises:
            DeployRefused: it does not load, or there is no room for it.
        """
        worker, engine = self._host._running, self._host.engine
        bundle = await worker.services.lanes.read(self._tenant, lambda readers: baked(engine, readers, one))
        await worker.admission.learn([self._tenant])
        try:
            if await worker.store.blob(blob_digest(bundle.packed)) is None:
                await worker.starting.sums.check_kept(self._tenant, len(bundle.packed))
        except LimitExceeded as error:
            raise one.refused(error.message, error.code, **error.facts) from error
        version = await keep(worker.store, engine, one, bundle, worker.services.world.now())
        worker.new_runs.policies.look()
        return version, bundle.not_granted

    async def _kept(self, one: Deployment) -> Code:
        """The code of a source, which was loaded at some time and is kept.

        Raises:
            DeployRefused: it does not load.
        """
        worker, engine = self._host._running, self._host.engine
        code = source_code(engine, one)
        id = version_id(code.workflow, blob_digest(code.pack()))
        if await worker.store.version_of(self._tenant, id) is not None:
            return code
        await self._has_deploy()
        await self._keep(one)
        for old in (await worker.store.versions(self._tenant, code.workflow))[evaluation.KEPT_MAX :]:
            await worker.store.withdraw(self._tenant, old.id)
        return code

    @in_turn
    async def withdraw(self, version: str | Version, *, by: str = "") -> None:
        """Forget a version: nothing starts with it any more. Runs that began with it go on, and keep its code.

        Raises:
            NotFound: the tenant has no such version.
        """
        if not isinstance(version, (str, Version)):
            raise UsageError(f"withdraw takes a version or its id, and not a {type(version).__name__}")
        id, store = version if isinstance(version, str) else version.id, self.connection.store
        if await store.version_of(self._tenant, id) is not None:
            await acts.write_act(store, Act.WITHDREW, by, self.connection.world.now(), self._tenant, version=id)
        if not await store.withdraw(self._tenant, id):
            raise NotFound(f"tenant {self._tenant} has no version '{id}'", kind="version", id=id)


def _exists(key: RunKey) -> RunConflict:
    return RunConflict(f"run {key} exists already: give the fork another id", run_id=key.run)


def _tell_not_granted(version: Version, steps: tuple[str, ...]) -> None:
    if steps:
        log.warning(
            "version %s of tenant %s names steps that its policy does not grant, and a call of one fails: %s. "
            "To grant them: %s",
            *(version.id, version.tenant, ", ".join(steps), grants_to_write(steps)),
        )
