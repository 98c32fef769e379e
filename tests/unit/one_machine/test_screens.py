"""What is on the screen: golden lines without a terminal, and the picture on one."""

import io

from rich.console import Console

from one_machine_builders import a_progress, a_view
from rlvr_trainer.one_machine.live import LiveScreen, extended, open_live, render, sparkline
from rlvr_trainer.one_machine.plain import PlainScreen
from rlvr_trainer.one_machine.view import View

GOLDEN = """\
[   0:00] starting
[   0:11] evaluating policy 0
[   0:12] step 1/60  reward 0.250  accuracy -  length 31.5  entropy 0.120  5,461 tokens/s  policy 1  1 m 30 s left
[   0:13] rollout-0-engine exited with SIGKILL; restarting in 0.5 s
[   0:14] step 3/60  reward 0.250  accuracy 0.625  length 31.5  entropy 0.120  5,461 tokens/s  policy 3  1 m 30 s left
[   0:25] gathering step 4: 3 of 32 groups
""".splitlines()


def test_without_a_terminal_there_is_a_line_for_each_step_and_event() -> None:
    lines: list[str] = []
    screen = PlainScreen(lines.append)
    evaluating = a_progress(step=0, activity="evaluating policy 0")

    screen.say("starting", elapsed=0.0)
    screen.show(a_view(None, elapsed=5.0))
    screen.show(a_view(evaluating, elapsed=9.0))
    screen.show(a_view(evaluating, elapsed=11.0))
    screen.show(a_view(a_progress(step=1, policy="1", accuracy=None), elapsed=12.0))
    screen.show(a_view(a_progress(step=2), elapsed=13.0))
    screen.say("rollout-0-engine exited with SIGKILL; restarting in 0.5 s", elapsed=13.5)
    screen.show(a_view(a_progress(step=3, policy="3"), elapsed=14.1))
    screen.show(a_view(a_progress(step=3, policy="3"), elapsed=20.0))
    screen.show(a_view(a_progress(step=3, policy="3"), elapsed=25.0))
    screen.show(a_view(a_progress(step=3, policy="3"), elapsed=40.0))

    assert lines == GOLDEN


def drawn(view: View) -> str:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(render(view, {"reward": (0.0, 0.5, 1.0)}))
    return capture.get()


def test_the_picture_shows_step_numbers_course_processes_and_checkpoint() -> None:
    picture = drawn(a_view(a_progress(step=7, eval_step=0, eval_accuracy=0.46), elapsed=72.0))

    for words in ("step 7/60", "1 m 30 s left", "▁▅█", "5,461", "at step 0", "rollout-0-engine (lost 1x)", "none yet"):
        assert words in picture


def test_the_picture_says_that_it_waits_before_anything_is_known() -> None:
    picture = drawn(a_view(None, elapsed=1.0))

    assert "step 0/60" in picture
    assert "waiting to hear from the coordinator" in picture


def test_a_sparkline_goes_from_the_smallest_to_the_largest() -> None:
    assert [sparkline(values) for values in ((), (3.0,), (1.0, 1.0), (0.0, 1.0))] == ["", "▁", "▁▁", "▁█"]


def test_the_course_keeps_the_newest_values_and_no_unknown_ones() -> None:
    course: dict[str, tuple[float, ...]] = {}
    for step in range(1, 40):
        course = extended(course, a_progress(step=step, reward=float(step), entropy=None))

    assert course["reward"] == tuple(map(float, range(16, 40)))
    assert course["entropy (nats)"] == ()


def test_events_stay_above_the_live_picture() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=True)
    with open_live(console) as screen:
        assert isinstance(screen, LiveScreen)
        screen.show(a_view(a_progress(), elapsed=1.0))
        screen.say("[learner-0] lost", elapsed=2.0)

    assert isinstance(console.file, io.StringIO)
    assert "[learner-0] lost" in console.file.getvalue()
