"""What a `Cloche` does for a tenant that is named, and what it can be given while it is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from cloche.engines import Language
from cloche.store import Version

if TYPE_CHECKING:
    from cloche.client.evaluation import Evaluation
    from cloche.client.tenants import Tenant
    from cloche.tenancy import Policy
    from cloche_codegen import Graph, Step


class Tenants(Protocol):
    """What gives the handles of tenants."""

    def tenant(self, id: str) -> Tenant: ...


class Hosting:
    """Mixed into `Cloche`."""

    async def deploy(
        self: Tenants,
        tenant: str,
        content: str | Graph | None = None,
        *,
        workflow: str | None = None,
        language: Language | None = None,
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
