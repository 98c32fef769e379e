import pytest

from rlvr_api.reward import CustomVerifier, ExactVerifier, VerifierSpec
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Outcome, Task, Verdict
from rlvr_trainer.verifiers.custom import verdict_from
from rlvr_trainer.verifiers.registry import MODULES, kind_of, verifier_for


def test_a_spec_names_its_kind() -> None:
    assert kind_of(VerifierSpec(exact=ExactVerifier(), weight=0.5)) == "exact"


def test_a_spec_becomes_its_verifier() -> None:
    verify = verifier_for(VerifierSpec(exact=ExactVerifier(answer_after="#")))

    assert verify(Task(answer="7"), "#7").outcome is Outcome.CORRECT


def test_every_kind_of_the_api_has_a_verifier() -> None:
    assert set(VerifierSpec.model_fields) - {"weight"} == MODULES.keys()


def test_a_function_of_the_user_becomes_a_verifier() -> None:
    verify = verifier_for(VerifierSpec(custom=CustomVerifier(import_path="hostile_verifiers:verify")))

    assert verify(Task(answer="7"), "7").outcome is Outcome.CORRECT
    assert verify(Task(answer="7"), "8").outcome is Outcome.WRONG


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no_such_module:verify", "cannot be imported"),
        ("hostile_verifiers:absent", "cannot be imported"),
        ("hostile_verifiers:__name__", "not a function"),
    ],
)
def test_a_function_that_is_not_there_is_named(path: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        verifier_for(VerifierSpec(custom=CustomVerifier(import_path=path)))


def test_numbers_and_truth_values_become_verdicts() -> None:
    assert verdict_from(True) == Verdict(outcome=Outcome.CORRECT, score=1.0)
    assert verdict_from(2) == Verdict(outcome=Outcome.CORRECT, score=2.0)
    assert verdict_from(0.25) == Verdict(outcome=Outcome.WRONG, score=0.25, reason="it scores 0.25")
    assert verdict_from(Verdict(outcome=Outcome.ERROR, score=None)).score is None


@pytest.mark.parametrize(
    "answer",
    [
        "1",
        None,
        float("nan"),
        float("inf"),
        Verdict(outcome=Outcome.ERROR, score=0.0),
        Verdict(outcome=Outcome.CORRECT, score=None),
    ],
)
def test_anything_else_is_the_functions_failure(answer: object) -> None:
    with pytest.raises(TypeError, match="it returned"):
        verdict_from(answer)
