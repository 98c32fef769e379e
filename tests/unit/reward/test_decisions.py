from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.reward.pool import chunk_size, deadline_reason
from rlvr_trainer.reward.processes import clean_environment, ending


def test_fast_verifiers_get_many_items_at_once_and_slow_ones_get_one() -> None:
    assert chunk_size(1000, num_workers=2, mean_seconds=1e-5) == 64
    assert chunk_size(1000, num_workers=2, mean_seconds=0.004) == 5
    assert chunk_size(1000, num_workers=2, mean_seconds=3.0) == 1


def test_a_few_items_are_shared_out() -> None:
    assert chunk_size(7, num_workers=2, mean_seconds=1e-5) == 4


@given(st.integers(1, 10**6), st.integers(1, 256), st.floats(1e-7, 3600))
def test_a_chunk_is_never_empty_nor_more_than_there_is(waiting: int, num_workers: int, mean_seconds: float) -> None:
    assert 1 <= chunk_size(waiting, num_workers=num_workers, mean_seconds=mean_seconds) <= waiting


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
