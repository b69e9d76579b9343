"""Trajectories as a trainer sees them, and the panels that they are kept in."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_policies import BUTTONS, embedder, logged_presses
from tiny_worlds import attempt

from grpo.encoding import Encoder
from grpo.errors import TrainingUsageError
from grpo.rollouts import encode_rollouts, group_of, panels_of, training_panel
from trajstore.schema import Step, Task, Trajectory

LOGS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=12, max_size=60).map(
    lambda pairs: [attempt(family=f"f{family}", group=f"g{family}-{group}") for family, group in pairs]
)


def encode(trajectories, **settings):
    return encode_rollouts(trajectories, Encoder(embedder(), most_texts=None), **settings)


def test_every_decision_knows_its_trajectory_and_its_step():
    rollouts = encode(logged_presses(3, members=2, length=3))
    assert rollouts.rollouts_N.tolist() == [number for number in range(6) for _ in range(3)]
    assert rollouts.steps_N.tolist() == [0, 1, 2] * 6
    assert rollouts.groups_R.tolist() == [0, 0, 1, 1, 2, 2]


def test_what_was_chosen_and_how_probably_comes_from_the_log():
    trajectories = logged_presses(4)
    rollouts = encode(trajectories)
    steps = [step for trajectory in trajectories for step in trajectory.steps]
    assert [BUTTONS[place].tool for place in rollouts.chosen_N] == [step.tool for step in steps]
    assert rollouts.propensities_N.tolist() == [step.propensity for step in steps]


def test_a_propensity_that_was_not_logged_is_unknown():
    assert np.isnan(encode(logged_presses(3, propensities=False)).propensities_N).all()


def test_where_a_log_does_not_say_what_was_offered_it_is_every_tool_that_was_called():
    rollouts = encode([attempt(("a", "look"), ("b", "press")), attempt(("a", "open"))])
    assert [len(decision.candidates_K) for decision in rollouts.decisions] == [3, 3, 3]
    assert rollouts.chosen_N.tolist() == [0, 2, 1]


def test_of_many_tools_so_many_are_offered():
    rollouts = encode([attempt(*(("", f"tool {number}") for number in range(20)))], most_candidates=5)
    assert {len(decision.candidates_K) for decision in rollouts.decisions} <= {4, 5}


def test_a_success_nobody_judged_is_unknown():
    found = encode([attempt(("", "a"), ("", "b"), success=success) for success in (True, False, None)]).successes_R
    assert found[:2].tolist() == [1.0, 0.0]
    assert np.isnan(found[2])


@pytest.mark.parametrize("trajectories", [[], [Trajectory(Task("do it"))], [attempt(("", "only"))]])
def test_logs_without_a_decision_are_refused(trajectories):
    with pytest.raises(TrainingUsageError, match=f"no decision in {len(trajectories)} trajectories"):
        encode(trajectories)


def test_a_trajectory_of_messages_only_is_kept_without_decisions():
    talk = Trajectory(Task("talk"), (Step(0, "say", kind="message"),))
    rollouts = encode([talk, *logged_presses(1)])
    assert len(rollouts.trajectories) == 5
    assert 0 not in rollouts.rollouts_N


@pytest.mark.parametrize(
    ("task", "name"),
    [(Task("t", "i", "g"), "g"), (Task("t", "i"), "i"), (Task("t"), "t")],
)
def test_attempts_at_one_task_share_a_group(task, name):
    assert group_of(Trajectory(task)) == name


@given(LOGS, st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_no_group_is_ever_split_and_no_panel_is_empty(trajectories, validation, test):
    try:
        panels = panels_of(trajectories, validation=validation, test=test)
    except TrainingUsageError as error:
        assert "too few to train on some and measure on others" in str(error)  # noqa: PT017 - either is right
        return
    groups = np.array([group_of(trajectory) for trajectory in trajectories])
    assert all(len(set(panels[groups == group])) == 1 for group in groups)
    assert set(panels.tolist()) == {"train", "validation", "test"}


def test_families_are_kept_whole_where_there_are_enough_of_them():
    trajectories = [attempt(family=f"f{n % 20}", group=f"g{n}") for n in range(80)]
    panels, families = panels_of(trajectories), np.array([one.task.family for one in trajectories])
    assert all(len(set(panels[families == family])) == 1 for family in families)


def test_a_log_of_one_family_is_cut_by_groups():
    panels = panels_of([attempt(family="all", group=f"g{n}") for n in range(40)])
    assert set(panels.tolist()) == {"train", "validation", "test"}


@given(LOGS, st.randoms(use_true_random=False))
def test_the_order_of_the_log_moves_no_group_to_another_panel(trajectories, random):
    try:
        panels = panels_of(trajectories)
    except TrainingUsageError:
        return
    shuffled = random.sample(trajectories, len(trajectories))
    before = {group_of(one): panel for one, panel in zip(trajectories, panels.tolist(), strict=True)}
    after = {group_of(one): panel for one, panel in zip(shuffled, panels_of(shuffled).tolist(), strict=True)}
    assert after == before


def test_panels_hold_their_shares():
    panels = panels_of([attempt(family=f"f{number}") for number in range(400)], validation=0.2, test=0.1)
    assert [(panels == name).sum() for name in ("train", "validation", "test")] == pytest.approx([280, 80, 40], abs=1)


@pytest.mark.parametrize("groups", [0, 1, 2])
def test_too_few_groups_for_three_panels_are_refused(groups):
    with pytest.raises(TrainingUsageError, match=f"{groups} groups of tasks are too few"):
        panels_of([attempt(group=f"g{number}") for number in range(groups)])


def test_what_is_cloned_to_begin_with_is_what_training_may_see():
    trajectories = [attempt(family=f"f{number}") for number in range(30)]
    panels = panels_of(trajectories)
    expected = [one for one, panel in zip(trajectories, panels, strict=True) if panel == "train"]
    assert list(training_panel(trajectories)) == expected
    assert len(training_panel(trajectories[:2])) == 2


def test_progress_is_told_for_every_trajectory():
    heard: list[tuple[str, int, int]] = []
    encode(logged_presses(2), on_progress=lambda *told: heard.append(told))
    assert heard[-1] == ("encoding", 8, 8)
    assert all(before[1] < after[1] for before, after in pairwise(heard))
