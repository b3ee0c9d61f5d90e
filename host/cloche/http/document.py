"""The document of the API, OpenAPI 3.1, beyond what the framework makes of the routes: problems, tokens, and named bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from cloche.http.bodies import BODIES, SCHEMAS
from cloche.http.gate import OPEN
from cloche.http.models import Problem
from cloche.http.problems import PROBLEM

if TYPE_CHECKING:
    from fastapi import FastAPI

PROBLEMS = {
    400: "The request cannot be meant.",
    401: "Nobody knows who asks.",
    403: "The principal may not do this.",
    404: "There is no such thing, or it is another tenant's.",
    405: "The address is another one: an id was `.` or `..`, which clients leave out of addresses.",
    406: "None of the types that are accepted is there.",
    408: "The body came too slowly.",
    409: "It does not go with what is there.",
    413: "The body is too large.",
    415: "The body is of another type.",
    421: "The server has another name.",
    422: "Something that was sent is not what it should be.",
    429: "Too much is asked for; `Retry-After` says when to try again.",
    500: "A fault of the server's own.",
    503: "The store cannot be reached just now; `Retry-After` says when to try again.",
}


def document_of(made: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=made.title, version=made.version, routes=made.routes)
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if path not in OPEN:
                operation["security"] = [{"token": []}]
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if (place := content["schema"].get("$ref")) is not None:  # else bytes
                    _put(place.removeprefix(SCHEMAS), schemas)
            _say_problems(operation["responses"])
    return document


def _put(name: str, schemas: dict[str, Any]) -> None:
    """The form of a body, and those that it is made of."""
    whole = BODIES[name].model_json_schema(ref_template=f"{SCHEMAS}{{model}}")
    for part, schema in {**whole.pop("$defs", {}), name: whole}.items():
        if schemas.setdefault(part, schema) != schema:
            raise AssertionError(f"two forms of the API have the name {part}")


def _say_problems(responses: dict[str, Any]) -> None:
    content = {PROBLEM: {"schema": {"$ref": f"{SCHEMAS}Problem"}}}
    for status, said in responses.items():
        if int(status) in PROBLEMS and "content" not in said:
            said["content"] = content
