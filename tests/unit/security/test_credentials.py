"""The token that is shown and the tokens that are let in, in both kinds of place; files are read again."""

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rlvr_trainer.credentials import TRUST_FILE, Kept, credentials_of, shared
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.surroundings import Surroundings
from service_tokens import a_document, a_token, public


def a_place(folder: Path, *, token: str = "secret\n", trust: bytes | None = None) -> Surroundings:
    (folder / "token").write_text(token)
    if trust is not None:
        (folder / TRUST_FILE).write_bytes(trust)
    return Surroundings(job=folder / "job.json", folder=folder, token_file=folder / "token")


def replace(path: Path, data: bytes) -> None:
    """As a kubelet does: nobody sees half a file."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(data)
    draft.replace(path)


def test_on_one_machine_everybody_shows_the_same_token(tmp_path: Path) -> None:
    credentials = credentials_of(a_place(tmp_path))

    assert credentials.token() == "secret"
    assert credentials.check("secret") is None
    assert (
        credentials.check("guess")
        == credentials.check("secret2")
        == credentials.check("\u2603")
        == "wrong bearer token"
    )


def test_a_token_that_was_replaced_is_read_again_in_both_directions(tmp_path: Path) -> None:
    credentials = credentials_of(a_place(tmp_path))
    credentials.token()

    replace(tmp_path / "token", b"newer")

    assert credentials.token() == "newer"
    assert (credentials.check("newer"), credentials.check("secret")) == (None, "wrong bearer token")


def test_in_a_pod_the_others_show_service_account_tokens_and_ours_is_no_pass(tmp_path: Path) -> None:
    now = time.time()
    credentials = credentials_of(a_place(tmp_path, trust=a_document()))

    assert credentials.token() == "secret"
    assert credentials.check(a_token(nbf=now, exp=now + 60)) is None
    assert "expired" in (credentials.check(a_token(exp=now - 60)) or "")
    assert credentials.check("secret") is not None


def test_keys_that_the_cluster_changed_are_taken_without_a_restart(tmp_path: Path) -> None:
    newer, now = rsa.generate_private_key(public_exponent=65537, key_size=2048), time.time()
    credentials = credentials_of(a_place(tmp_path, trust=a_document()))
    token = a_token(key=newer, kid="three", nbf=now, exp=now + 60)
    assert "not among the 2 keys" in (credentials.check(token) or "")

    replace(tmp_path / TRUST_FILE, a_document(jwks={"keys": [public(newer, "three")]}))

    assert credentials.check(token) is None


def test_what_is_missing_or_wrong_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"trust\.json cannot be read"):
        credentials_of(a_place(tmp_path, trust=b"{}"))
    (tmp_path / "token").unlink()
    with pytest.raises(FileNotFoundError):
        credentials_of(Surroundings(job=tmp_path / "job.json", folder=tmp_path, token_file=tmp_path / "token"))


def test_a_file_is_read_once_until_it_is_replaced(tmp_path: Path) -> None:
    read: list[bytes] = []
    path = tmp_path / "file"
    path.write_bytes(b"one")
    kept = Kept(path, lambda data: read.append(data) or data)

    assert [kept(), kept(), kept()] == [b"one"] * 3
    replace(path, b"two")
    assert [kept(), kept()] == [b"two"] * 2
    assert read == [b"one", b"two"]


def test_a_shared_token_is_asked_for_at_every_check() -> None:
    tokens = iter(["one", "two"])
    check = shared(lambda: next(tokens))

    assert (check("one"), check("one")) == (None, "wrong bearer token")
