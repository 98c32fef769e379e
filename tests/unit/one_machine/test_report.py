"""The record of a run and the page made of it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from builders import a_job, an_evaluation
from one_machine_builders import a_report
from rlvr_trainer.metrics import TABLE, parse_key
from rlvr_trainer.one_machine.report.figures import LINES, figures, solved_shares, time_split
from rlvr_trainer.one_machine.report.history import Record, lineage, merge, read_record
from rlvr_trainer.one_machine.report.page import Heading, answer_pairs, ends, recipe_rows, render_page
from rlvr_trainer.samples import CoordinatorState, Fate, Ledger, Outcome, StepReport, Transcript
from rlvr_trainer.storage.checkpoints import Origin, open_checkpoints
from rlvr_trainer.wire import to_json

VOID = frozenset({"meta", "line", "rect", "circle", "path"})
COMPLETE = Heading(ending="complete", reason="", finished_at=0.0)


class Balance(HTMLParser):
    """Which elements were opened and not closed, or closed and not opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def said(question: str, completion: str, outcome: Outcome) -> Transcript:
    return Transcript(question=question, expected="2", completion=completion, outcome=outcome)


def a_record(*, steps: int = 20) -> Record:
    before = an_evaluation(0, accuracy=0.25, transcripts=[said("1+1=", "<b>3</b>", Outcome.WRONG)])
    after = an_evaluation(steps, accuracy=0.75, transcripts=[said("1+1=", "#2", Outcome.CORRECT)])
    return Record(
        step=steps,
        reports=tuple(a_report(step, reward_mean=step / 10, entropy_nats=1 / step) for step in range(1, steps + 1)),
        evaluations=(before, after),
        groups={"trained": 80, "flat": 1234},
        tokens=12_345,
        wall_seconds=40.0,
    )


def test_the_page_is_well_formed_and_needs_no_network() -> None:
    page = render_page(a_job(), a_record(), COMPLETE)
    balance = Balance()
    balance.feed(page)

    assert (balance.open, balance.wrong) == ([], [])
    assert re.findall(r"(?:src|href|url\()\s*=?", page) == []
    assert "<script" not in page


def test_the_page_tells_the_numbers_and_escapes_what_models_say() -> None:
    page = render_page(a_job(), a_record(), COMPLETE)

    for words in ("0.250 → 0.750", "+0.500", "12,345", "1,234", "<pre>&lt;b&gt;3&lt;/b&gt;</pre>", "DAPO 2503.14476"):
        assert words in page


def test_every_chart_says_in_words_what_it_shows() -> None:
    page = render_page(a_job(), a_record(), COMPLETE)

    labels = re.findall(r'role="img" aria-label="([^"]*)"', page)
    assert "Reward, mean of the step&#39;s completions, by step. reward: 0.1 at step 1, 2 at step 20." in labels
    assert len(labels) == page.count("<svg ")


def test_a_run_without_a_step_has_a_page_too() -> None:
    nothing = Record(step=0, reports=(), evaluations=(), groups={}, tokens=0, wall_seconds=0.0)

    page = render_page(a_job(), nothing, Heading(ending="failed", reason="learner-0 exited", finished_at=0.0))

    assert "No step has finished yet." in page
    assert "learner-0 exited" in page


def test_answers_are_paired_by_question_in_the_first_evaluation_s_order() -> None:
    first = an_evaluation(transcripts=[said(q, "before", Outcome.WRONG) for q in ("a", "b", "c")])
    last = an_evaluation(9, transcripts=[said(q, "after", Outcome.CORRECT) for q in ("c", "a")])

    pairs = answer_pairs(first, last)

    assert [(pair.question, pair.before.completion, pair.after.completion) for pair in pairs] == [
        ("a", "before", "after"),
        ("c", "before", "after"),
    ]
    assert answer_pairs(first, None) == ()


def test_before_is_the_base_model_and_after_the_newest_policy() -> None:
    middle, last = an_evaluation(5), an_evaluation(10)

    assert ends((an_evaluation(0), middle, last)) == (an_evaluation(0), last)
    assert ends((an_evaluation(0),)) == (an_evaluation(0), None)
    assert ends(()) == (None, None)


def test_pass_at_k_is_drawn_where_prompts_have_several_completions() -> None:
    once, found = a_record(), an_evaluation(pass_at={2: 0.5, 4: 0.625})
    several = replace(once, evaluations=(found,))

    assert "Held-out pass@k" not in render_page(a_job(), once, COMPLETE)
    page = render_page(a_job(), several, COMPLETE)
    assert "Held-out pass@k" in page
    assert "pass@4" in page


def a_timed_report(step: int, **seconds: float) -> StepReport:
    return a_report(step, **{f'step_seconds{{phase="{phase}"}}': value for phase, value in seconds.items()})


def test_the_time_of_a_step_is_split_by_phase_the_long_ones_first() -> None:
    split = time_split([a_timed_report(1, wait=1.5, forward=0.5), a_timed_report(2, wait=2.0, forward=0.25)])

    assert split == {"waiting for samples": [(1.0, 1.5), (2.0, 2.0)], "forward": [(1.0, 0.5), (2.0, 0.25)]}
    assert list(split) == ["waiting for samples", "forward"]


def test_small_phases_share_a_color_and_nothing_is_lost() -> None:
    split = time_split([a_timed_report(1, a=7, b=6, c=5, d=4, e=3, f=2, g=1)])

    assert split["other"] == [(1.0, 3.0)]
    assert sum(y for points in split.values() for _, y in points) == 28


def test_a_step_that_was_interrupted_is_no_slow_step() -> None:
    split = time_split([*(a_timed_report(step, wait=1) for step in range(1, 7)), a_timed_report(7, wait=5000)])

    assert [step for step, _ in split["waiting for samples"]] == [1, 2, 3, 4, 5, 6]


def test_steps_without_phases_have_no_times() -> None:
    assert time_split([a_report(1), a_report(2)]) == {}


def test_groups_are_counted_by_their_right_answers_over_all_steps() -> None:
    reports = [
        a_report(1, **{'groups_by_correct{correct="0"}': 3, 'groups_by_correct{correct="1"}': 1}),
        a_report(2, **{'groups_by_correct{correct="0"}': 1, 'groups_by_correct{correct="2"}': 3}),
    ]

    assert solved_shares(reports) == {0: 0.5, 1: 0.125, 2: 0.375}
    assert solved_shares([a_report(1)]) == {}


def test_the_first_quarter_of_the_steps_stands_beside_the_last() -> None:
    counted = [a_report(step, **{f'groups_by_correct{{correct="{step}"}}': 1}) for step in range(1, 9)]
    record = replace(a_record(), reports=tuple(counted))

    chart = dict(figures(record))["Groups"][0]

    assert [bar.tip for bar in chart.bars] == [
        "1, first quarter: 0.5",
        "2, first quarter: 0.5",
        "7, last quarter: 0.5",
        "8, last quarter: 0.5",
    ]


def test_every_curve_of_the_report_is_a_metric_of_the_table() -> None:
    table = {metric.name: metric.labels for metric in TABLE}
    keys = [parse_key(f"rlvr_learner_{key}") for lines in LINES for key in lines.curves.values()]

    assert {name: tuple(sorted(labels)) for name, labels in keys} == {
        name: tuple(sorted(table[name])) for name, _ in keys
    }


def test_a_curve_that_says_nothing_is_left_out_and_a_single_value_is_a_dot() -> None:
    trained = [a_report(step, selected_tokens_ratio=1.0, truncated_ratio=0.0) for step in (1, 2)]
    compared = [*trained, a_report(3, entropy_overlap_ratio=0.9)]

    found = {
        chart.title: chart for _, charts in figures(replace(a_record(), reports=tuple(compared))) for chart in charts
    }

    assert not found.keys() & {"Tokens that are trained", "Unreadable answers"}
    assert [dot.tip for dot in found["Uncertain where the base model is"].dots] == ["overlap, step 3: 0.9"]


def test_a_curve_that_is_alone_among_several_still_says_which_it_is() -> None:
    reports = tuple(a_report(step, truncated_ratio=0.0, malformed_ratio=0.1) for step in (1, 2))

    found = {chart.title: chart for _, charts in figures(replace(a_record(), reports=reports)) for chart in charts}

    assert found["Unreadable answers"].legend == ("malformed",)


def test_telemetry_becomes_charts_in_its_section() -> None:
    values = {'entropy_quantile_nats{quantile="0.8"}': 0.672, 'length_target_tokens{difficulty="hard"}': 44.0}
    values |= {'groups_by_correct{correct="1"}': 2.0, 'step_seconds{phase="forward"}': 1.0}
    record = replace(a_record(), reports=tuple(a_report(step, **values) for step in (1, 2)))

    found = {name: [chart.title for chart in charts] for name, charts in figures(record)}

    assert found == {
        "Learning": ["Accuracy", "Completion length", "Time per step"],
        "Tokens": ["Entropy quantiles"],
        "Groups": ["Right answers in a group", "Target lengths"],
    }


def test_the_recipe_names_a_source_for_every_number() -> None:
    rows = {path: (value, source) for path, value, source in recipe_rows(a_job())}

    assert rows["trustRegion.clipHigh"] == ("0.28", "DAPO 2503.14476, section 4.1")
    assert rows["dynamicSampling.enabled"][0] == "true"


def test_what_an_attempt_left_behind_is_forgotten() -> None:
    first = (0, tuple(a_report(step, loss=1.0) for step in (1, 2, 3, 4)))
    second = (2, (a_report(3, loss=2.0),))

    kept = lineage([first, second])

    assert [(report.step, report.metrics["rlvr_learner_loss"]) for report in kept] == [(1, 1.0), (2, 1.0), (3, 2.0)]


def test_the_checkpoint_is_the_truth_up_to_its_step() -> None:
    committed = [a_report(1, loss=1.0), a_report(2, loss=1.0)]
    later = [a_report(2, loss=9.0), a_report(3, loss=9.0)]

    assert [r.metrics["rlvr_learner_loss"] for r in merge(committed, later)] == [1.0, 1.0, 9.0]


def test_a_stopped_run_is_told_from_its_checkpoint_and_the_reports_after_it(tmp_path: Path) -> None:
    history, state, work = tmp_path / "history", tmp_path / "state", tmp_path / "work" / "attempts" / "a000"
    history.write_bytes(b"".join(to_json(a_report(step)) + b"\n" for step in (1, 2)))
    ledger = Ledger(watermark=11, counts={Fate.TRAINED: 8, Fate.FLAT: 3})
    state.write_bytes(to_json(CoordinatorState(ledger=ledger, generated_tokens=99, wall_seconds=4.0)))
    origin = Origin(attempt=0, job_digest="d", world_size=1)
    uri = str(tmp_path / "checkpoints")
    open_checkpoints(uri, keep=1).save(2, {"history.jsonl": history, "coordinator.json": state}, origin)
    (work / "reports").mkdir(parents=True)
    (work / "resume.json").write_text(json.dumps({"step": 0}))
    (work / "reports" / "000003.json").write_bytes(to_json(a_report(3)))

    record = read_record(tmp_path / "work", checkpoints=uri, result=None)

    assert [report.step for report in record.reports] == [1, 2, 3]
    assert (record.step, record.tokens, record.groups) == (3, 99, {"trained": 8, "flat": 3})


def test_without_a_checkpoint_there_is_still_a_record(tmp_path: Path) -> None:
    record = read_record(tmp_path, checkpoints=str(tmp_path / "none"), result=None)

    assert (record.step, record.reports, record.groups) == (0, (), {})
