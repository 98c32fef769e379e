"""Whose ServiceAccount tokens a role of a job accepts.  Pure: no file, no clock, and nobody is asked.

The operator leaves the answer in `trust.json` beside the job: issuer, audience (the job's UID), namespace, the
operator's own account, and the issuer's public keys.  A token that was revoked is accepted until it expires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import jwt
import msgspec

from rlvr_trainer.errors import InvalidInput

_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""Those that API servers sign with; none that a public key could be used to sign with."""
_LEEWAY_SECONDS: Final = 30.0
_ACCOUNT: Final = "system:serviceaccount:"
_OURS: Final[Any] = {
    "require": ["exp", "iss", "aud", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
"""Times are compared here, with the caller's clock."""


class _Document(msgspec.Struct):
    issuer: str
    audience: str
    namespace: str
    operator: str
    jwks: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What trust.json says."""

    issuer: str
    audience: str
    namespace: str
    operator: str
    """The subject of the operator's tokens."""
    keys: dict[str | None, jwt.PyJWK]
    """By key id."""


def read_trust(data: bytes) -> Trust:
    """Trust from the bytes of trust.json; InvalidInput when they are something else."""
    try:
        document = msgspec.json.decode(data, type=_Document)
        keys = [jwt.PyJWK(key) for key in document.jwks.get("keys", []) if key.get("kty") in {"RSA", "EC"}]
    except (msgspec.DecodeError, jwt.PyJWTError) as error:
        raise InvalidInput(
            f"trust.json cannot be read: {error}. The operator writes it; is it the same version?"
        ) from error
    return Trust(
        issuer=document.issuer,
        audience=document.audience,
        namespace=document.namespace,
        operator=document.operator,
        keys={key.key_id: key for key in keys},
    )


def complaint(token: str, trust: Trust, *, now: float) -> str | None:
    """What is wrong with `token` at the time `now` (seconds since 1970); None when nothing is.  Never shows it."""
    try:
        name = jwt.get_unverified_header(token).get("kid")
        key = trust.keys.get(name)
        if key is None:
            return f"the token is signed with key {name!r}, which is not among the {len(trust.keys)} keys of trust.json"
        claims = jwt.decode(
            token, key, algorithms=_ALGORITHMS, audience=trust.audience, issuer=trust.issuer, options=_OURS
        )
    except jwt.InvalidAudienceError:
        return f"the token is for another audience than this job, {trust.audience}"
    except jwt.PyJWTError as error:
        return f"not an acceptable token: {error}"
    return _wrong_time(claims, now) or _wrong_subject(str(claims["sub"]), trust)


def _wrong_time(claims: dict[str, Any], now: float) -> str | None:
    try:
        begins, ends = float(claims.get("nbf", 0.0)), float(claims["exp"])
    except (TypeError, ValueError):
        return "the token's times are not numbers"
    if now > ends + _LEEWAY_SECONDS:
        return f"the token expired {now - ends:.0f} s ago"
    if now < begins - _LEEWAY_SECONDS:
        return f"the token begins in {begins - now:.0f} s: compare the clocks of the nodes"
    return None


def _wrong_subject(subject: str, trust: Trust) -> str | None:
    if subject == trust.operator or subject.startswith(f"{_ACCOUNT}{trust.namespace}:"):
        return None
    return f"{subject} is neither an account of namespace {trust.namespace} nor the operator's"
