"""Code and what was deployed of it, in memory."""

from __future__ import annotations

from collections.abc import Mapping

from cloche.history.ids import TenantId
from cloche.store.memory.data import Facet
from cloche.store.protocol import Version


class MemoryBlobs(Facet):
    """Implements `Blobs`."""

    async def put_blob(self, digest: str, data: bytes) -> None:
        self._data.keep({digest: data})

    async def blob(self, digest: str) -> bytes | None:
        return self._data.blobs.get(digest)


class MemoryDeployments(Facet):
    """Implements `Deployments`."""

    async def deploy(self, version: Version, blobs: Mapping[str, bytes]) -> Version:
        self._data.keep(blobs)
        self._data.bundles.add((version.tenant, version.digest))
        place = (version.tenant, version.id)
        self._data.versions[place] = found = self._data.versions.pop(place, version)
        return found

    async def version_of(self, tenant: TenantId, name: str) -> Version | None:
        found = self._data.versions.get((tenant, name))
        return found or next(iter(await self.versions(tenant, name)), None)

    async def versions(self, tenant: TenantId | None, workflow: str | None = None) -> list[Version]:
        ours = [one for one in reversed(self._data.versions.values()) if tenant in (None, one.tenant)]
        return [one for one in ours if workflow in (None, one.workflow)]

    async def withdraw(self, tenant: TenantId, id: str) -> bool:
        return self._data.versions.pop((tenant, id), None) is not None
