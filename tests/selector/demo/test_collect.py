"""Collecting trajectories in a two-room world."""

from collections import Counter

import numpy as np
import pytest

from selector.demo.collect import CollectSettings, action_of, collect, thinned
from trajstore.errors import UsageError
from trajstore.schema import Candidate, Step


def collected(world, settings=None, count=6, seed=0):
    return list(collect(world, world.tasks("chest", "train", count), settings or CollectSettings(), seed=seed))


def test_each_task_gives_a_gold_path_one_with_detours_and_a_random_walk(two_rooms):
    agents = [trajectory.agent for trajectory in collected(two_rooms, count=2)]
    assert agents == ["gold", "gold with detours", "random"] * 2


def test_gold_paths_succeed_and_say_so(two_rooms):
    for trajectory in collected(two_rooms):
        if trajectory.agent == "gold":
            assert trajectory.success is True
            assert trajectory.reward == 1.0
            assert [action_of(step) for step in trajectory.steps] == list(two_rooms.gold_path(trajectory.task))


def test_detours_make_some_walks_longer_than_gold(two_rooms):
    lengths = {
        agent: sum(len(one.steps) for one in collected(two_rooms, count=20) if one.agent == agent)
        for agent in ("gold", "gold with detours")
    }
    assert lengths["gold with detours"] > lengths["gold"]


def test_every_step_holds_state_candidates_observation_and_outcome(two_rooms):
    for trajectory in collected(two_rooms):
        for step in trajectory.steps:
            assert step.state.startswith("You are in")
            assert step.observation
            assert step.outcome in {"ok", "tool_error", "invalid_args"}
            assert any(one.tool == step.tool and one.args == step.args for one in step.candidates)


def test_the_same_seed_collects_the_same_trajectories(two_rooms):
    assert collected(two_rooms, seed=3) == collected(two_rooms, seed=3)
    assert collected(two_rooms, seed=3) != collected(two_rooms, seed=4)


def test_a_task_collects_the_same_in_any_company(two_rooms):
    settings = CollectSettings(gold=0, detours=0, random=2)
    tasks = two_rooms.tasks("chest", "train", 4)
    alone = list(collect(two_rooms, tasks[2:3], settings))
    assert alone == list(collect(two_rooms, tasks, settings))[4:6]


def test_a_walk_stops_at_the_step_limit_as_a_failure(two_rooms):
    settings = CollectSettings(gold=1, detours=0, random=0, max_steps=1)
    trajectory = collected(two_rooms, settings, count=1)[0]
    assert (len(trajectory.steps), trajectory.success, trajectory.stop_reason) == (1, False, "step limit")


def test_many_candidates_are_thinned_but_never_the_chosen_one(two_rooms):
    for trajectory in collected(two_rooms, CollectSettings(max_candidates=1)):
        for step in trajectory.steps:
            assert [(one.tool, one.args) for one in step.candidates] == [(step.tool, step.args)]


def test_half_of_what_is_kept_is_of_the_chosen_tool_and_no_other_tool_is_left_out():
    offered = tuple(
        Candidate(tool, {"object": str(n)}, f"{tool} {n}") for tool in ("take", "open", "eat") for n in range(20)
    )
    for seed in range(5):
        kept = thinned(offered, offered[3], 11, np.random.default_rng(seed))
        counts = Counter(one.tool for one in kept)
        assert (counts["take"], sorted([counts["open"], counts["eat"]])) == (6, [2, 3])
        assert offered[3] in kept
        assert list(kept) == [one for one in offered if one in kept]


def test_what_fits_is_kept_whole_and_room_that_other_tools_leave_is_filled():
    offered = tuple(Candidate("take", {"object": str(n)}, f"take {n}") for n in range(20))
    rng = np.random.default_rng(0)
    assert thinned(offered, offered[3], 20, rng) == offered
    assert len(thinned(offered, offered[3], 19, rng)) == 19


def test_an_action_that_is_not_offered_is_tried_once_then_waited_for(two_rooms):
    settings = CollectSettings(gold=0, detours=1, random=0, detour_fraction=0.5, max_steps=200)
    trajectories = collected(two_rooms, settings, count=40)
    refused = [[step for step in one.steps if step.outcome == "invalid_args"] for one in trajectories]
    assert any(refused)
    assert all(one.success for one in trajectories)


def test_namespace_and_source_are_those_of_the_settings(two_rooms):
    trajectory = collected(two_rooms, CollectSettings(namespace="mine", source="here"), count=1)[0]
    assert (trajectory.task.namespace, trajectory.source) == ("mine", "here")


def test_progress_counts_to_the_number_of_trajectories(two_rooms):
    heard = []
    tasks = two_rooms.tasks("chest", "train", 2)
    list(collect(two_rooms, tasks, CollectSettings(), on_progress=lambda done, total: heard.append((done, total))))
    assert heard == [(done, 6) for done in range(1, 7)]


def test_the_action_of_a_step_without_candidates_is_put_together_from_its_arguments():
    assert action_of(Step(index=0, tool="take", args={"object": "coin"})) == "take coin"


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"detour_fraction": 1.5}, "1.5"), ({"max_steps": 0}, "max_steps"), ({"max_candidates": 0}, "max_candidates")],
)
def test_settings_out_of_range_are_refused_by_name(settings, named):
    with pytest.raises(UsageError, match=named):
        CollectSettings(**settings)


def test_a_path_whose_actions_are_offered_under_other_names_is_walked_to_its_end(two_rooms):
    class Renaming(type(two_rooms)):
        def gold_path(self, task):
            return tuple(action.replace("key", "brass key") for action in super().gold_path(task))

        def as_candidate(self, action):
            return super().as_candidate(action.replace("brass key", "key"))

    for trajectory in collected(Renaming(), CollectSettings(detours=0, random=0)):
        assert trajectory.success is True
        assert [action_of(step) for step in trajectory.steps] == list(two_rooms.gold_path(trajectory.task))
