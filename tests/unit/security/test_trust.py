"""Whose ServiceAccount tokens are accepted: signed by the issuer, for this job, now, by an account that may ask."""

import re
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.trust import complaint, read_trust
from service_tokens import CURVE, ISSUER, JOB, KEY, NOW, OPERATOR, a_document, a_token, public

TRUST = read_trust(a_document())


def said(token: str) -> str | None:
    return complaint(token, TRUST, now=NOW)


def test_a_pod_of_the_namespace_and_the_operator_are_let_in() -> None:
    assert said(a_token()) is None
    assert said(a_token(sub=OPERATOR)) is None
    assert said(a_token(key=CURVE, kid="two", algorithm="ES256")) is None


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"aud": ["another-job"]}, f"for another audience than this job, {JOB}"),
        ({"aud": None}, "aud"),
        ({"iss": "https://elsewhere"}, "[Ii]nvalid issuer|not an acceptable token"),
        ({"exp": NOW - 31}, "the token expired 31 s ago"),
        ({"exp": None}, "exp"),
        ({"nbf": NOW + 31}, "the token begins in 31 s: compare the clocks"),
        ({"exp": "soon"}, "not"),
        ({"sub": "system:serviceaccount:elsewhere:default"}, "neither an account of namespace research nor"),
        ({"sub": "system:serviceaccount:rlvr-system:default"}, "neither an account of namespace research nor"),
        ({"sub": "research"}, "neither an account of namespace research nor"),
        ({"sub": "system:serviceaccount:research-2:default"}, "neither"),
        ({"sub": None}, "sub"),
    ],
    ids=str,
)
def test_every_other_claim_is_refused_by_name(claims: dict[str, Any], words: str) -> None:
    refusal = said(a_token(**claims))

    assert refusal is not None
    assert re.search(words, refusal)


def test_clocks_may_differ_by_half_a_minute() -> None:
    assert said(a_token(exp=NOW - 29)) is None
    assert said(a_token(nbf=NOW + 29)) is None


def test_a_signature_of_another_key_is_refused() -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    assert "not an acceptable token" in (said(a_token(key=stranger)) or "")
    assert said(a_token(key=stranger, kid="three")) == (
        "the token is signed with key 'three', which is not among the 2 keys of trust.json"
    )
    assert "key None" in (said(a_token(kid=None)) or "")


def test_a_token_without_a_signature_or_signed_with_the_public_key_is_refused() -> None:
    unsigned = jwt.encode({"sub": OPERATOR}, "", algorithm="none", headers={"kid": "one"})
    secret: str = public(KEY, "one")["n"]
    forged = jwt.encode({"sub": OPERATOR, "aud": JOB, "iss": ISSUER, "exp": NOW + 9}, secret, headers={"kid": "one"})

    for token in (unsigned, forged, a_token()[:-8] + "AAAAAAAA"):
        assert "not an acceptable token" in (said(token) or "")


@pytest.mark.parametrize("token", ["", "secret", "a.b.c", "e30.e30.", "\u2603"])
def test_what_is_no_token_is_refused_and_not_repeated(token: str) -> None:
    refusal = said(token)

    assert refusal is not None
    assert token == "" or token not in refusal


@pytest.mark.parametrize("data", [b"", b"{}", a_document(jwks=[]), a_document(jwks={"keys": [{"kty": "RSA"}]})])
def test_a_document_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"trust\.json cannot be read: .* The operator writes it"):
        read_trust(data)


def test_keys_of_kinds_that_no_api_server_signs_with_are_passed_over() -> None:
    symmetric = {"kty": "oct", "kid": "three", "k": "c2VjcmV0"}

    trust = read_trust(a_document(jwks={"keys": [symmetric, public(KEY, "one")]}))

    assert set(trust.keys) == {"one"}
