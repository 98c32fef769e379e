"""ServiceAccount tokens and the trust.json that lets them in; nothing but keys made here."""

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

NOW = 1_800_000_000.0
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
ISSUER, JOB = "https://kubernetes.default.svc", "0a1b2c3d-4e5f-4000-8000-000000000001"
OPERATOR = "system:serviceaccount:rlvr-system:rlvr-operator"


def public(key: Any, name: str) -> dict[str, Any]:
    algorithm: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"}


def a_document(**changes: Any) -> bytes:
    document = {
        "issuer": ISSUER,
        "audience": JOB,
        "namespace": "research",
        "operator": OPERATOR,
        "jwks": {"keys": [public(KEY, "one"), public(CURVE, "two")]},
    }
    return json.dumps(document | changes).encode()


def a_token(*, key: Any = KEY, kid: str | None = "one", algorithm: str = "RS256", **claims: Any) -> str:
    """One that is accepted, but for what is said; a claim that is None is left out."""
    body = {
        "iss": ISSUER,
        "aud": [JOB],
        "sub": "system:serviceaccount:research:default",
        "nbf": NOW - 60,
        "exp": NOW + 3600,
    } | claims
    present = {name: value for name, value in body.items() if value is not None}
    return jwt.encode(present, key, algorithm=algorithm, headers={"kid": kid} if kid else {})
