"""What the updates of a real step found, by class of entropy."""

from pathlib import Path
from typing import Any

import pytest

from learning import a_backend, a_dealing, a_recipe, random_facts, take
from rlvr_trainer.learner.findings import metrics_of
from rlvr_trainer.learner.microbatches import Dealing
from rlvr_trainer.learner.step import Findings, Method

TIGHT = {"clipHighEntropy": 0.002, "clipLowEntropy": 0.001}
FACTS = random_facts(1)
CLASSES = ("high", "low")


def found_in(
    folder: Path, dealing: Dealing, *, has_reference: bool = False, **spec: Any
) -> tuple[dict[str, float], Findings]:
    recipe = a_recipe(**spec)
    reference = a_backend(folder) if has_reference else None
    method = Method(backend=a_backend(folder, sgd=True), recipe=recipe, reference=reference)
    findings = take(method, FACTS, dealing, rate=0.05)
    metrics = metrics_of(FACTS, findings, recipe, learning_rate=0.05)
    return {key.removeprefix("rlvr_learner_"): value for key, value in metrics.items()}, findings


def test_archer_tells_clips_and_divergence_of_each_class(model_folder: Path) -> None:
    found, findings = found_in(
        model_folder, a_dealing(epochs=2), has_reference=True, preset="archer", trustRegion={"archer": TIGHT}
    )

    high, low = (
        [found[f'clipped_by_class_ratio{{bound="{bound}",class="{name}"}}'] for bound in ("lower", "upper", "dual")]
        for name in CLASSES
    )
    assert sum(high) > 0 and sum(low) > 0 and high != low
    nats = [found[f'kl_reference_by_class_nats{{class="{name}"}}'] for name in CLASSES]
    share = sum(update.high.num_tokens for update in findings.updates) / sum(
        update.whole.num_tokens for update in findings.updates
    )
    assert found["kl_reference_nats"] == pytest.approx(share * nats[0] + (1 - share) * nats[1])
    assert found["clipped_ratio"] == pytest.approx(share * sum(high[:2]) + (1 - share) * sum(low[:2]))


def test_the_bounds_add_up_to_all_that_was_clipped(model_folder: Path) -> None:
    found, _ = found_in(
        model_folder, a_dealing(epochs=2), preset="dapo", trustRegion={"clipLow": 0.001, "clipHigh": 0.001}
    )

    bounds = [found[f'clipped_by_bound_ratio{{bound="{bound}"}}'] for bound in ("lower", "upper")]
    assert min(bounds) > 0
    assert found["clipped_ratio"] == pytest.approx(sum(bounds))


def test_a_recipe_without_classes_says_nothing_of_them(model_folder: Path) -> None:
    found, _ = found_in(model_folder, a_dealing(), preset="dapo")

    assert not [key for key in found if "class" in key]


def test_tokens_that_nobody_trained_were_not_clipped_and_not_left_alone_either(model_folder: Path) -> None:
    """The rule of 80 and 20 trains its selection only: of the rest there is no share to tell."""
    found, findings = found_in(model_folder, a_dealing(), preset="highEntropy20")

    assert {key for key in found if key.startswith("clipped_by_class")} == {
        f'clipped_by_class_ratio{{bound="{bound}",class="high"}}' for bound in ("lower", "upper", "dual")
    }
    assert found["selected_tokens_ratio"] == found["high_entropy_tokens_ratio"] < 0.3
    assert findings.updates[0].high.num_selected == findings.updates[0].high.num_tokens


def test_the_mean_weight_of_mgpo_is_told_where_it_weighs(model_folder: Path) -> None:
    mgpo = {"mgpo": {"strength": 1.0, "center": 0.5}}
    found, _ = found_in(model_folder, a_dealing(), preset="dapo", emphasis=mgpo)
    plain, _ = found_in(model_folder, a_dealing(), preset="dapo")

    # exp(-D): 1 at 2 of 4 correct, 0.877383 at 1 or 3 of 4.
    weights = [{1: 0.877383, 2: 1.0, 3: 0.877383}[one.num_correct] for one in FACTS.groups]
    assert found["mgpo_weight_mean"] == pytest.approx(sum(weights) / 4, abs=1e-6)
    assert "mgpo_weight_mean" not in plain
