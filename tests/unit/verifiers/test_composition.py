import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.samples import Finish, Outcome, Task, Verdict
from rlvr_trainer.verifiers.composition import Weighted, combine, grade, judge
from rlvr_trainer.verifiers.verdicts import Verifier, correct, error, malformed, wrong


def saying(verdict: Verdict) -> Verifier:
    return lambda _task, _text: verdict


def weighted(*pairs: tuple[Verdict, float]) -> list[Weighted]:
    return [
        Weighted(kind=f"v{index}", verifier=saying(verdict), weight=weight)
        for index, (verdict, weight) in enumerate(pairs)
    ]


def test_the_score_is_the_weighted_mean_and_the_first_verifier_grades() -> None:
    judgement = judge(weighted((wrong("7"), 3.0), (correct(), 1.0)), Task(), "text", finish=Finish.STOP)

    assert judgement.verdict == Verdict(outcome=Outcome.WRONG, score=0.25, reason="v0: 7")
    assert [(part.kind, part.outcome) for part in judgement.parts] == [("v0", Outcome.WRONG), ("v1", Outcome.CORRECT)]


def test_a_verifier_alone_speaks_without_its_name() -> None:
    assert judge(weighted((wrong("7"), 2.0)), Task(), "", finish=Finish.STOP).verdict == wrong("7")


def test_an_error_anywhere_is_an_error_without_a_score() -> None:
    verdict = judge(weighted((correct(), 1.0), (error("no network"), 0.0)), Task(), "", finish=Finish.STOP).verdict

    assert verdict == error("v1: no network")


def test_a_verifier_that_raises_is_an_error_that_says_what_was_raised() -> None:
    def verify(_task: Task, _text: str) -> Verdict:
        raise ZeroDivisionError("division by zero" * 100)

    verdict = judge([Weighted(kind="custom", verifier=verify, weight=1)], Task(), "", finish=Finish.STOP).verdict

    assert verdict.outcome is Outcome.ERROR
    assert verdict.score is None
    assert verdict.reason.startswith("the verifier failed: ZeroDivisionError: division by zero")
    assert len(verdict.reason) <= 300


def test_only_an_unreadable_answer_at_the_token_limit_is_truncated() -> None:
    assert grade(malformed("none"), finish=Finish.LENGTH).outcome is Outcome.TRUNCATED
    assert grade(malformed("none"), finish=Finish.STOP).outcome is Outcome.MALFORMED
    assert grade(correct(), finish=Finish.LENGTH).outcome is Outcome.CORRECT
    assert grade(wrong("7"), finish=Finish.LENGTH).outcome is Outcome.WRONG


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=5))
def test_the_score_stays_between_the_lowest_and_the_highest(
    pairs: list[tuple[float, float]],
) -> None:
    scored = [(msgspec.structs.replace(correct(), score=score), weight) for score, weight in pairs]

    score = combine(weighted(*scored), [verdict for verdict, _ in scored]).score

    assert score is not None
    low, high = min(score for score, _ in pairs), max(score for score, _ in pairs)
    assert low - 1e-9 <= score <= high + 1e-9
