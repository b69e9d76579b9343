"""Whether stored paths help is found out on each log, and what they say never comes from what is left out."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tiny_worlds import decide, knowledge_of, learned_from

from selector.gain import Gain, gain_of_paths, without_paths
from selector.learning import LearningConfig, build_examples, decision_shares, fit_model
from selector.model_file import FittedModel, from_bytes, to_bytes
from selector.path_relations import PATH_RELATIONS
from selector.relations import RELATIONS
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step, Task, Trajectory

HERBS = ("fern", "bark", "moss", "sage", "mint", "dill")
KINDS = ("tea", "salve", "syrup", "balm", "broth", "paste", "soap", "ink")
ACTS = [(tool, which) for tool in ("take", "grind", "boil") for which in (0, 1)]
RECIPES = {
    kind: [ACTS[at] for at in np.random.default_rng(number).permutation(len(ACTS))] for number, kind in enumerate(KINDS)
}
OFFERED = tuple(Candidate(tool, {"object": herb}) for tool in ("take", "grind", "boil") for herb in HERBS)


def made(task: str, calls: list[tuple[str, str]], states: list[str], name: str) -> Trajectory:
    steps = tuple(
        Step(at, tool, args={"object": herb}, state=state, observation=f"ok {at}", outcome="ok", candidates=OFFERED)
        for at, ((tool, herb), state) in enumerate(zip(calls, states, strict=True))
    )
    return Trajectory(task=Task(task, group=name), steps=steps, success=True, trajectory_id=name)


def recipes(count: int, *, seed: int = 0) -> Iterator[Trajectory]:
    """Tasks that are done in the order of their kind, on herbs of their own: a path of the same kind tells how."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        herbs = rng.choice(HERBS, 2, replace=False).tolist()
        calls = [(tool, herbs[which]) for tool, which in RECIPES[kind]]
        yield made(f"make {kind} of {herbs[0]} then {herbs[1]}", calls, [""] * len(calls), f"{kind}{number}")


def orders(count: int, *, seed: int = 0) -> Iterator[Trajectory]:
    """Tasks in which the state says what to do next, in no order: other paths tell nothing."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        calls = [(str(rng.choice(["take", "grind", "boil"])), str(rng.choice(HERBS))) for _ in range(6)]
        yield made(f"obey guest {number}", calls, [f"{tool} the {herb}" for tool, herb in calls], f"order{number}")


def test_paths_are_used_where_they_tell_how_and_not_where_they_do_not():
    assert learned_from(list(recipes(24))).model.uses_paths
    assert not learned_from(list(orders(24))).model.uses_paths


def test_paths_are_not_used_where_most_tasks_read_the_same():
    told_apart = list(recipes(24))
    alike = [replace(one, task=replace(one.task, text="make it")) for one in told_apart]
    assert not learned_from(alike).model.uses_paths
    assert learned_from([*alike[:8], *told_apart[8:]]).model.uses_paths


def test_with_paths_a_new_task_is_done_in_the_order_of_its_kind():
    learned = learned_from(list(recipes(40)))
    done: tuple[PastStep, ...] = ()
    for tool, which in RECIPES["salve"]:
        situation = Situation("make salve of mint then moss", "", done, OFFERED)
        found = decide(learned, situation).ranked[0].candidate
        assert (found.tool, found.args["object"]) == (tool, ("mint", "moss")[which])
        done = (*done, PastStep(found.tool, found.args["object"], f"ok {len(done)}"))


def test_what_is_left_out_is_not_among_the_paths():
    trajectories = list(recipes(8))
    knowledge = knowledge_of(trajectories)
    situation = Situation(trajectories[0].task.text, "", (), OFFERED)
    goals = knowledge.goal_similarities(situation)
    everything = knowledge.left_out(range(len(trajectories)))
    assert knowledge.path_relations(situation, goals).any()
    assert not knowledge.path_relations(situation, goals, everything).any()
    others = knowledge_of(trajectories[1:])
    left = knowledge.left_out([0])
    assert knowledge.path_relations(situation, goals, left) == pytest.approx(
        others.path_relations(situation, others.goal_similarities(situation))
    )


def test_paths_stored_later_are_known_at_once():
    trajectories = list(recipes(8))
    grown, whole = knowledge_of(trajectories[:4]), knowledge_of(trajectories)
    situation = Situation(trajectories[5].task.text, "", (), OFFERED)
    before = grown.path_relations(situation, grown.goal_similarities(situation))
    grown.experience.extend(trajectories[4:])
    grown.learn(trajectories[4:], first=4)
    after = grown.path_relations(situation, grown.goal_similarities(situation))
    assert not np.allclose(before, after)
    assert after == pytest.approx(whole.path_relations(situation, whole.goal_similarities(situation)))


def test_failures_are_no_paths_to_follow():
    failed = [
        Trajectory(task=one.task, steps=one.steps, success=False, trajectory_id=one.trajectory_id) for one in recipes(4)
    ]
    knowledge = knowledge_of(failed)
    situation = Situation(failed[0].task.text, "", (), OFFERED)
    assert not knowledge.path_relations(situation, knowledge.goal_similarities(situation)).any()


def test_bare_tools_have_no_relations_to_paths():
    knowledge = knowledge_of(list(recipes(4)))
    situation = Situation("make tea of fern then moss", "", (), (Candidate("take"), Candidate("boil")))
    goals = knowledge.goal_similarities(situation)
    assert not knowledge.path_relations(situation, goals).any()


def test_a_model_keeps_its_relations_to_paths_when_it_is_stored():
    trajectories = list(recipes(24))
    fitted = fit_model(knowledge_of(trajectories), trajectories, LearningConfig())
    kept = from_bytes(to_bytes(FittedModel(fitted.model, fitted.paths, fitted.familiar, 7))).model
    assert kept.uses_paths
    assert kept.relations == pytest.approx(fitted.model.relations, rel=1e-3, abs=1e-3)


def test_examples_without_paths_are_those_that_were_never_compared_with_any():
    trajectories = list(recipes(6))
    knowledge = knowledge_of(trajectories)
    bare = list(build_examples(knowledge, trajectories, LearningConfig()))
    told = list(build_examples(knowledge, trajectories, LearningConfig(), with_paths=True))
    for one, other in zip(bare, told, strict=True):
        assert other.actions.relations.shape[1] == len(RELATIONS) + len(PATH_RELATIONS)
        assert (without_paths(other).actions.relations == one.actions.relations).all()
        assert one.unit == other.unit


def test_a_gain_is_told_apart_from_chance():
    trajectories = list(recipes(24))
    knowledge = knowledge_of(trajectories)
    config = LearningConfig()
    examples = list(build_examples(knowledge, trajectories, config, with_paths=True))
    assert gain_of_paths(examples, len(knowledge.experience.tools), config.penalties).is_worthwhile
    assert not Gain(0.3, 0.2, left=1.0).is_worthwhile
    assert not Gain(0.1, 0.0, left=1.0).is_worthwhile
    assert not Gain(0.0, 0.0, left=0.0).is_worthwhile
    assert Gain(0.3, 0.1, left=1.0).is_worthwhile
    assert Gain(0.1, 0.02, left=0.3).is_worthwhile


def test_shares_of_decisions_favour_rare_tools_and_make_up_the_number_asked_for():
    often, rarely = [("take", "fern")] * 95 + [("boil", "moss")] * 5, [("take", "bark")] * 100
    trajectories = [made("a", often, [""] * 100, "a"), made("b", rarely, [""] * 100, "b")]
    knowledge = knowledge_of(trajectories)
    shares = decision_shares(knowledge, 40)
    assert shares["boil"] == 1.0
    assert 195 * shares["take"] + 5 <= 40
    assert decision_shares(knowledge, 200) == {}
