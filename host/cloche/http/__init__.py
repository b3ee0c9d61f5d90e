"""HTTP in front of a client: `app` makes an ASGI app, `serve` of the command line runs it. Needs `cloche[server]`."""

from cloche.errors import UsageError

try:
    from cloche.client.sending import deliveries
    from cloche.http.app import App, app
    from cloche.http.principals import Auth, Principal, Role, by_token, local
except ModuleNotFoundError as missing:
    if missing.name != "fastapi":
        raise
    raise UsageError("HTTP needs an optional part: pip install 'cloche[server]'") from missing

__all__ = ["App", "Auth", "Principal", "Role", "app", "by_token", "deliveries", "local"]
