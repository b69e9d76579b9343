"""What a comparison is made of: which trajectories, tasks and episodes are taken, and what is counted."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.demo.collect import CollectSettings, collect
from selector.demo.compare import (
    LEARNERS,
    baselines,
    curve_sizes,
    first_of_each_game,
    interleaved,
    point_of,
    with_stored,
)
from selector.demo.engine_agent import ExplainedStep
from selector.demo.records import Example, count_left_out
from selector.demo.rollout import Rollout, game_of
from selector.records import Decision, PrunedCandidate, SupportingStep
from trajstore.environment import Transition
from trajstore.schema import Candidate, Task, Trajectory

GAMES = ("chest", "door", "well")
AFTER = Transition("later", (), "done", 0.0, "ok", done=False)


def task(game, seed):
    return Task("do it", f"{game}/{seed}", f"{game}/{seed}", f"rooms/{game}")


def explained(*pruned, evidence=(), path=None):
    chosen = Candidate("look", {}, "look")
    left_out = tuple(PrunedCandidate(Candidate(tool, {}, f"{tool} it"), reason) for tool, reason in pruned)
    return ExplainedStep(
        "here", Decision("id", chosen, "follow", 1.0, (), left_out, evidence, path=path), chosen, AFTER
    )


@given(st.lists(st.sampled_from(GAMES), max_size=40))
def test_every_beginning_of_the_interleaved_holds_about_as_many_of_each_game(games):
    memory = [Trajectory(task(game, seed), ()) for seed, game in enumerate(games)]
    mixed = interleaved(memory)
    assert sorted(one.task.task_id for one in mixed) == sorted(one.task.task_id for one in memory)
    for length in range(len(mixed) + 1):
        counts = {game: [game_of(one.task) for one in mixed[:length]].count(game) for game in games}
        unfinished = [count for game, count in counts.items() if count < games.count(game)]
        assert not unfinished or max(counts.values()) - min(unfinished) <= 1


@given(st.lists(st.sampled_from(GAMES), max_size=40))
def test_the_interleaved_keep_the_order_within_a_game(games):
    memory = [Trajectory(task(game, seed), ()) for seed, game in enumerate(games)]
    for game in GAMES:
        kept = [one for one in interleaved(memory) if game_of(one.task) == game]
        assert kept == [one for one in memory if game_of(one.task) == game]


@given(st.integers(1, 2_000))
def test_a_curve_begins_with_nothing_and_stops_short_of_everything(stored):
    sizes = curve_sizes(stored)
    assert sizes[0] == 0
    assert list(sizes) == sorted(set(sizes))
    assert sizes[-1] < stored


@given(st.lists(st.sampled_from(GAMES), max_size=20), st.integers(1, 5))
def test_the_first_tasks_of_each_game_are_taken_in_order(games, each):
    tasks = [task(game, seed) for seed, game in enumerate(games)]
    taken = first_of_each_game(tasks, each)
    for game in GAMES:
        assert [one for one in taken if game_of(one) == game] == [one for one in tasks if game_of(one) == game][:each]


def test_a_point_counts_only_its_tasks_and_agents():
    rollouts = [
        Rollout(agent, "chest", f"chest/{seed}", success=seed == 0, reward=0.0, steps=1)
        for agent in ("engine", "replay", "random")
        for seed in range(4)
    ]
    point = point_of(30, rollouts, [task("chest", seed) for seed in range(2)], ("replay", "engine"))
    assert point.trajectories == 30
    assert point.table.agents == ("engine", "replay")
    assert [(row.tasks, row.success.value) for row in point.table.rows] == [(2, 0.5), (2, 0.5)]


def test_only_the_trajectories_behind_its_decisions_stay_with_an_example(two_rooms):
    memory = list(collect(two_rooms, two_rooms.tasks("chest", "train", 2), CollectSettings()))
    stored = {f"t{number}": one for number, one in enumerate(memory)}
    evidence = (
        SupportingStep("t3", 0, "look", success=True, similarity=1.0),
        SupportingStep("gone", 0, "look", None, 1.0),
    )
    example = Example(
        task("chest", 0), success=True, steps=(explained(evidence=evidence, path="t1"), explained()), stored={}
    )
    assert with_stored(example, stored).stored == {"t1": memory[1], "t3": memory[3]}


def test_what_was_left_out_is_counted_by_kind_of_reason():
    steps = [
        explained(("go", "loop: done 2 times"), ("take", "loop: done 3 times")),
        explained(("go", "loop: done 4 times"), ("eat", "fails here: at most 0.1")),
        explained(),
    ]
    loop, fails = count_left_out(steps)
    assert (loop.kind, loop.decisions, loop.candidates, loop.tools) == ("loop", 2, 3, ("go", "take"))
    assert (loop.action, loop.reason) == ("go it", "loop: done 2 times")
    assert (fails.kind, fails.decisions, fails.candidates) == ("fails here", 1, 1)
    assert count_left_out([explained()]) == ()


@given(st.lists(st.lists(st.sampled_from(["loop: a", "fails here: b", "forbidden"]), max_size=4), max_size=8))
def test_every_candidate_that_was_left_out_is_counted_once(reasons):
    counted = count_left_out(explained(*(("go", reason) for reason in step)) for step in reasons)
    assert sum(one.candidates for one in counted) == sum(map(len, reasons))
    assert all(one.decisions <= sum(map(bool, reasons)) for one in counted)


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_a_learner_without_memory_still_acts_on_what_is_offered(two_rooms, name):
    (played,) = two_rooms.tasks("chest", "test", 1)
    agent = LEARNERS[name]((), 0)
    agent.begin(played)
    seen = two_rooms.reset(played)
    assert agent.choose(seen) in seen.candidates


def test_the_baselines_are_random_choice_and_every_learner(two_rooms):
    memory = list(collect(two_rooms, two_rooms.tasks("chest", "train", 1), replace(CollectSettings(), random=0)))
    assert [agent.name for agent in baselines(memory, 0)] == ["random", *LEARNERS]
