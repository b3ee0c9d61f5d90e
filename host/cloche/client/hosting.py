"""What a `Cloche` does for a tenant that is named, and what it can be given while it is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from cloche.engines import Language, SourceLanguage
from cloche.store import Version

if TYPE_CHECKING:
    from cloche.client.evaluation import Evaluation
    from cloche.client.tenants import Tenant
    from cloche.tenancy import Policy
    from cloche.worker.worker import Worker
    from cloche_codegen import Graph, Step, Workflow


class Tenants(Protocol):
    """What gives the handles of tenants."""

    def tenant(self, id: str) -> Tenant: ...


class Hosts(Protocol):
    """What executes, while it is open, and what it begins with."""

    _workflows: list[Workflow]
    _worker: Worker | None


class Hosting:
    """Mixed into `Cloche`."""

    def register(self: Hosts, workflow: Workflow, *, replace: bool = False) -> None:
        """Let a workflow be started here by its id. With `replace` it takes the place of another one of that id, and its steps.

        Open runs go on under the code that they began with; steps are looked up by id, so theirs are today's. What a cell of a
        notebook defines takes the place of what that cell defined before without being asked to.

        Raises:
            UsageError: another one is registered under its id, or one of its steps.
            NotCommitted: end the workflow with `.commit()` first.
        """
        if self._worker is not None:
            self._worker.new_runs.register(workflow, replace=replace)
        if replace:
            self._workflows[:] = [one for one in self._workflows if one.id != workflow.id]
        if workflow not in self._workflows:
            self._workflows.append(workflow)

    async def deploy(
        self: Tenants,
        tenant: str,
        content: str | Graph | None = None,
        *,
        workflow: str | None = None,
        language: SourceLanguage | None = None,
        files: Mapping[str, str | bytes] | None = None,
        main: str = "main.py",
        by: str = "",
    ) -> Version:
        """As `Tenant.deploy`."""
        return await self.tenant(tenant).deploy(
            content, workflow=workflow, language=language, files=files, main=main, by=by
        )

    async def evaluate(
        self: Tenants,
        tenant: str,
        source: str,
        input_data: Any = None,
        *,
        steps: Iterable[Step | str] = (),
        policy: Policy | None = None,
        language: Language = "python",
        run_id: str | None = None,
    ) -> Evaluation:
        """As `Tenant.evaluate`."""
        return await self.tenant(tenant).evaluate(
            source, input_data, steps=steps, policy=policy, language=language, run_id=run_id
        )
