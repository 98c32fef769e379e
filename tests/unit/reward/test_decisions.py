from rlvr_trainer.reward.pool import deadline_reason
from rlvr_trainer.reward.processes import clean_environment, ending


def test_a_worker_learns_nothing_that_it_does_not_need() -> None:
    environment = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "s", "RLVR_TOKEN_FILE": "t", "HOME": "/root"}

    assert clean_environment(environment, path=["/a", "/b"]) == {
        "PATH": "/bin",
        "PYTHONPATH": "/a:/b",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def test_endings_and_deadlines_are_told_in_words() -> None:
    assert ending(3) == "ended with exit code 3"
    assert ending(-9) == "was ended by SIGKILL"
    assert deadline_reason(10.0) == "deadline of 10 s exceeded"
    assert deadline_reason(0.5) == "deadline of 0.5 s exceeded"
