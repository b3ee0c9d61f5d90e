"""A client of a server of `cloche serve`, over HTTP. Needs `cloche[remote]`."""

from cloche.client.remote.client import RemoteClient, RemoteRuns, RemoteTenant
from cloche.client.remote.run import RemoteRun

__all__ = ["RemoteClient", "RemoteRun", "RemoteRuns", "RemoteTenant"]
