"""HTTP in front of a client: `app` makes an ASGI app, `serve` of the command line runs it. Needs `cloche[server]`."""

from cloche.http.app import App, app
from cloche.http.principals import Auth, Principal, Role, by_token, local

__all__ = ["App", "Auth", "Principal", "Role", "app", "by_token", "local"]
