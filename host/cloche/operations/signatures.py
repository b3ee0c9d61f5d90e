"""Signatures of webhooks: made as Standard Webhooks says, and checked in its form, GitHub's and Stripe's.

A signature says that whoever has the secret has sent these bytes. In the forms that sign a time it must be of these minutes, so
that what somebody has overheard cannot be sent again later.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256

from cloche.errors import UsageError

__all__ = ["FORMS", "BadSignature", "check_secret", "checked_id", "made_secret", "signed"]

FORMS = ("standard", "github", "stripe")
TOLERANCE_S = 300
PREFIX = "whsec_"
_ID = re.compile(r"[\x21-\x7e]{1,200}")


class BadSignature(Exception):
    """It is not signed, not with this secret, or not at this time. Its text says which, and nothing of the secret."""


def made_secret() -> str:
    """A new one, for Standard Webhooks: 256 bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_secret(form: str, secret: str) -> None:
    """
    Raises:
        UsageError: it is not one of this form.
    """
    if form in ("out", "steps", "standard"):
        try:
            is_one = len(_key(secret)) >= 16
        except ValueError:
            is_one = False
        if not is_one:
            raise UsageError("a secret of Standard Webhooks is 'whsec_' and at least 16 bytes in base64")
    elif not 8 <= len(secret) <= 200:
        raise UsageError("a secret has 8 to 200 characters")


def signed(secret: str, id: str, at_s: int, body: bytes) -> dict[str, str]:
    """The headers that a webhook is sent with, after the Standard Webhooks specification."""
    made = base64.b64encode(_mac(_key(secret), f"{id}.{at_s}.".encode() + body)).decode()
    return {"webhook-id": id, "webhook-timestamp": str(at_s), "webhook-signature": f"v1,{made}"}


def checked_id(form: str, secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> str:
    """The id of a webhook that is signed as `form` has it. The names of `headers` are in small letters.

    Raises:
        BadSignature: it is not.
    """
    match form:
        case "standard":
            return _standard(secret, headers, body, now_s)
        case "github":
            given = headers.get("x-hub-signature-256", "")
            _compare([given], f"sha256={_mac(secret.encode(), body).hex()}")
            return _id(headers.get("x-github-delivery"))
        case _:
            return _stripe(secret, headers, body, now_s)


def _standard(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> str:
    id, at = _id(headers.get("webhook-id")), headers.get("webhook-timestamp", "")
    _check_time(at, now_s)
    made = base64.b64encode(_mac(_key(secret), f"{id}.{at}.".encode() + body)).decode()
    _compare(headers.get("webhook-signature", "").split(" ")[:20], f"v1,{made}")
    return id


def _stripe(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> str:
    parts = [part.strip().partition("=") for part in headers.get("stripe-signature", "").split(",")[:20]]
    at = next((value for name, _, value in parts if name == "t"), "")
    _check_time(at, now_s)
    made = _mac(secret.encode(), f"{at}.".encode() + body).hex()
    _compare([value for name, _, value in parts if name == "v1"], made)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    return _id(value.get("id") if isinstance(value, dict) else None)


def _id(given: object) -> str:
    if not isinstance(given, str) or not _ID.fullmatch(given):
        raise BadSignature("it has no id")
    return given


def _check_time(at: str, now_s: float) -> None:
    if not re.fullmatch(r"\d{1,12}", at) or abs(int(at) - now_s) > TOLERANCE_S:
        raise BadSignature(f"it was not signed within {TOLERANCE_S} seconds of now")


def _compare(given: list[str], made: str) -> None:
    """Each in constant time: how many characters are right is nobody's business."""
    found = [hmac.compare_digest(one.encode("utf-8", "replace"), made.encode()) for one in given]
    if not any(found):
        raise BadSignature("its signature is not one of this secret")


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, sha256).digest()


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("no base64") from error
