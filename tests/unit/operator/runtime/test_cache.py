"""What is known about objects: the newest version of what is there, and nothing of what is gone."""

from rlvr_operator.cluster.cache import Cache, Key
from rlvr_operator.cluster.resources import Raw
from runtime_fakes import Clock, a_raw_pod

SUMS = Key("research", "sums")


def a_pod(version: int, *, uid: str = "u1", phase: str = "Pending", name: str = "sums-learner-0-a0") -> Raw:
    raw = a_raw_pod(name, phase=phase)
    raw["metadata"] |= {"uid": uid, "resourceVersion": str(version)}
    return raw


def a_cache(clock: Clock | None = None) -> tuple[Cache[str], list[Key]]:
    rung: list[Key] = []
    return Cache(lambda raw: str(raw["status"]["phase"]), rung.append, clock=clock or Clock()), rung


def phases(cache: Cache[str]) -> list[str]:
    return [entry.value for entry in cache.of(SUMS)]


def test_it_rings_for_the_job_only_when_what_is_kept_changes() -> None:
    cache, rung = a_cache()
    cache.put(a_pod(1))
    cache.put(a_pod(2))
    cache.put(a_pod(3, phase="Running"))

    assert rung == [SUMS, SUMS]
    assert phases(cache) == ["Running"]


def test_an_older_version_never_replaces_a_newer_one() -> None:
    cache, _ = a_cache()
    cache.note(a_pod(5, phase="Running"))
    cache.put(a_pod(4))

    assert phases(cache) == ["Running"]


def test_what_we_wrote_is_there_before_the_watch_tells() -> None:
    cache, _ = a_cache()
    cache.note(a_pod(5))

    assert phases(cache) == ["Pending"]


def test_an_answer_that_comes_after_the_deletion_does_not_raise_the_dead() -> None:
    cache, _ = a_cache()
    cache.put(a_pod(1))
    cache.remove(a_pod(2))
    cache.note(a_pod(1))

    assert phases(cache) == []


def test_another_object_of_the_same_name_is_another_object() -> None:
    cache, _ = a_cache()
    cache.put(a_pod(7, uid="old"))
    cache.put(a_pod(3, uid="new", phase="Running"))
    cache.remove(a_pod(8, uid="old"))

    assert phases(cache) == ["Running"]


def test_a_new_list_removes_what_is_not_in_it() -> None:
    cache, rung = a_cache()
    cache.put(a_pod(1))
    cache.put(a_pod(2, uid="u2", name="sums-learner-1-a0"))
    rung.clear()
    cache.keep_only({"u2"}, version=10)

    assert [entry.uid for entry in cache.of(SUMS)] == ["u2"]
    assert rung == [SUMS]


def test_a_list_that_is_older_than_our_own_write_does_not_remove_it() -> None:
    cache, _ = a_cache()
    cache.note(a_pod(12))
    cache.keep_only(set(), version=10)

    assert phases(cache) == ["Pending"]


def test_a_newer_version_is_not_believed_for_ever() -> None:
    """A restored etcd starts with older versions."""
    clock = Clock()
    cache, _ = a_cache(clock)
    cache.put(a_pod(12))
    clock.turn(31.0)
    cache.keep_only(set(), version=10)

    assert phases(cache) == []


def test_what_belongs_to_no_job_is_not_kept() -> None:
    cache, rung = a_cache()
    stranger = a_pod(1)
    stranger["metadata"]["labels"] = {}
    cache.put(stranger)
    cache.remove(stranger)

    assert (len(cache), rung) == (0, [])


def test_what_cannot_be_read_is_not_kept() -> None:
    rung: list[Key] = []
    cache: Cache[str] = Cache(lambda _raw: None, rung.append)
    cache.put(a_pod(1))

    assert (len(cache), rung) == (0, [])
