"""What tuning minimises: fair slices of a log, and a score that is lower the better the choices are."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_logs import WordEmbedder
from tiny_worlds import COLOURS, attempt, coloured_presses

from selector import objective as module
from selector.errors import SelectorUsageError
from selector.objective import FEWEST_UNITS, Slices, cut, distance
from selector.records import SelectorConfig
from selector.tuned import values_of
from selector.tuning import Measurement
from trajstore.experience import holdout_unit
from trajstore.schema import Trajectory

FAMILIES = 16
CONFIG = SelectorConfig(exploration=0.0)
START = values_of(CONFIG)
EMBEDDER = WordEmbedder(*COLOURS, "lamp")
LOG = coloured_presses(FAMILIES, length=3)


def families(part: tuple[Trajectory, ...]) -> set[str]:
    """The families of a part."""
    return {one.task.family for one in part}


def measured(config: SelectorConfig, slices: Slices | None = None) -> Measurement:
    """The objective of a configuration as it is."""
    slices = slices or cut(LOG)
    return distance(slices, slices.tuning, EMBEDDER, config)(values_of(config))


@given(st.integers(FEWEST_UNITS, 24), st.integers(1, 3), st.integers(0, 5))
def test_slices_share_no_family_and_lose_no_trajectory(units, each, seed):
    log = [
        replace(one, trajectory_id=f"{one.trajectory_id}-{copy}")
        for one in coloured_presses(units, length=1)
        for copy in range(each)
    ]
    slices = cut(log, seed=seed)
    parts = [slices.learning, slices.tuning, slices.confirming]
    assert sum(len(families(part)) for part in parts) == len(set().union(*map(families, parts))) == units
    assert sorted(one.trajectory_id for part in parts for one in part) == sorted(one.trajectory_id for one in log)


@given(st.integers(FEWEST_UNITS, 40))
def test_half_of_the_families_are_learned_from_and_a_quarter_goes_to_each_of_the_others(units):
    slices = cut(coloured_presses(units, length=1))
    assert len(slices.learning) == pytest.approx(units / 2, abs=1.0)
    assert len(slices.tuning) == pytest.approx(units / 4, abs=1.0)
    assert len(slices.confirming) == pytest.approx(units / 4, abs=1.0)


def test_the_same_seed_cuts_alike_and_another_does_not():
    assert cut(LOG, seed=1) == cut(LOG, seed=1)
    assert cut(LOG, seed=1) != cut(LOG, seed=2)


def test_a_large_family_brings_no_more_than_its_share(monkeypatch):
    monkeypatch.setattr(module, "MOST_TRAJECTORIES", 2 * FAMILIES)
    crowd = [replace(LOG[0], trajectory_id=f"crowd-{number}") for number in range(50)]
    slices = cut([*LOG, *crowd])
    parts = (*slices.learning, *slices.tuning, *slices.confirming)
    assert sum(one.task.family == LOG[0].task.family for one in parts) == 2
    assert {one.task.family for one in parts} == {one.task.family for one in LOG}


def test_too_few_families_are_refused():
    with pytest.raises(SelectorUsageError, match="8 task families or more, got 7: ingest more"):
        cut(coloured_presses(7))


def test_trajectories_that_name_no_family_stand_for_themselves():
    log = [replace(one, task=replace(one.task, family="")) for one in LOG]
    assert {holdout_unit(one, 0, "family") for one in cut(log).tuning} <= {one.trajectory_id for one in log}


def test_without_successes_there_is_nothing_to_tune_on():
    with pytest.raises(SelectorUsageError, match="no successful trajectory is left for tuning"):
        cut([replace(one, success=False) for one in LOG])


def test_the_score_of_a_uniform_choice_is_that_of_the_closed_form():
    uniform = measured(replace(CONFIG, exploration=1.0))
    tools = len(COLOURS)
    assert uniform.value == pytest.approx(1.0 - 2.0 / tools + 1.0 / tools)


def test_choosing_well_scores_lower_than_choosing_at_random_and_both_within_bounds():
    well, at_random = measured(CONFIG), measured(replace(CONFIG, exploration=1.0))
    assert 0.0 <= well.value < 0.2 < at_random.value <= 2.0


def test_a_sure_choice_of_the_wrong_tool_scores_worse_than_choosing_at_random():
    slices = cut(LOG)
    wrong = {colour: COLOURS[(at + 1) % len(COLOURS)] for at, colour in enumerate(COLOURS)}
    misled = tuple(
        replace(one, steps=tuple(replace(step, tool=f"press_{wrong[step.tool[6:]]}") for step in one.steps))
        for one in slices.tuning
    )
    score = distance(slices, misled, EMBEDDER, CONFIG)(START)
    assert 2.0 >= score.value > measured(replace(CONFIG, exploration=1.0)).value


def test_the_score_is_averaged_by_family():
    slices = cut(LOG)
    measurement = measured(CONFIG, slices)
    assert len(measurement.units_N) == len(families(slices.tuning))
    assert measurement.value == pytest.approx(float(np.mean(measurement.units_N)))


def test_the_same_settings_and_seed_score_alike():
    assert measured(CONFIG) == measured(CONFIG)


def test_failures_and_calls_that_were_never_offered_say_nothing():
    slices = cut(LOG)
    failed = tuple(replace(one, success=False, task=replace(one.task, family="failed")) for one in slices.learning)
    strange = attempt(("the lamp is red", "never seen"), family="strange", trajectory_id="strange")
    more = distance(slices, (*slices.tuning, *failed, strange), EMBEDDER, CONFIG)(START)
    assert more == distance(slices, slices.tuning, EMBEDDER, CONFIG)(START)
