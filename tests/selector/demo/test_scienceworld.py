"""The adapter of ScienceWorld against the real thing."""

import sys

import numpy as np
import pytest

from selector.demo.scienceworld import ScienceWorldEnvironment, spread
from trajstore.errors import MissingDependency, UsageError

SHORT = "lifespan-longest-lived"


@pytest.fixture(scope="module")
def world():
    pytest.importorskip("scienceworld", reason="ScienceWorld comes with trajstore[demo]")
    environment = ScienceWorldEnvironment()
    yield environment
    environment.close()


@pytest.mark.slow
def test_a_gold_path_succeeds_with_reward_one_and_nothing_on_it_is_refused(world):
    task = world.tasks(SHORT, "train", 1)[0]
    world.reset(task)
    steps = [world.step(world.as_candidate(action)) for action in world.gold_path(task)]
    assert (steps[-1].done, steps[-1].success) == (True, True)
    assert sum(step.reward for step in steps) == pytest.approx(1.0)
    assert {step.outcome for step in steps} == {"ok"}


@pytest.mark.slow
def test_templates_become_tools_with_objects(world):
    seen = world.reset(world.tasks(SHORT, "train", 1)[0])
    by_text = {candidate.text: candidate for candidate in seen.candidates}
    opening = next(one for text, one in by_text.items() if text.startswith(("open door", "close door")))
    assert opening.tool in {"open", "close"}
    assert opening.args["object"].startswith("door to")
    moving = next(one for one in seen.candidates if one.tool == "move to")
    assert set(moving.args) == {"object", "place"}
    assert "reset task" not in by_text


@pytest.mark.slow
def test_objects_are_offered_by_the_names_that_are_seen_and_actions_do_what_they_say(world):
    """The package calls the couch a "cloth sittable"."""
    world.reset(world.tasks(SHORT, "train", 1)[0])
    seen = world.step(world.as_candidate("teleport to living room"))
    offered = {candidate.text: candidate for candidate in seen.candidates}
    assert "couch" in seen.state
    assert "look at couch" in offered
    assert not any("sittable" in text for text in offered)
    assert "couch" in world.step(offered["look at couch"]).observation


@pytest.mark.slow
def test_a_gold_path_that_waits_for_things_to_grow_succeeds(world):
    task = world.tasks("identify-life-stages-1", "train", 1)[0]
    path = world.gold_path(task)
    world.reset(task)
    steps = []
    for action in path:
        steps.append(world.step(world.as_candidate(action)))
        if steps[-1].done:
            break
    assert steps[-1].success is True
    assert {step.outcome for step in steps} == {"ok"}


@pytest.mark.slow
def test_things_that_are_alike_are_offered_as_one_and_asking_which_costs_no_step(world):
    task = world.tasks("grow-plant", "train", 1)[0]
    path = world.gold_path(task)
    world.reset(task)
    sown = next(action for action in path if action.startswith("move") and "flower pot" in action)
    for action in path[: path.index(sown)]:
        world.step(world.as_candidate(action))
    after = world.step(world.as_candidate(sown))
    assert after.outcome == "ok"
    assert after.observation.startswith("You move")


@pytest.mark.slow
def test_a_wrong_focus_ends_the_episode_with_nothing(world):
    task = world.tasks(SHORT, "train", 1)[0]
    seen = world.reset(task)
    focus = next(one for one in seen.candidates if one.tool == "focus on")
    after = world.step(focus)
    assert (after.done, after.success, after.reward, after.candidates) == (True, False, 0.0, ())


@pytest.mark.slow
def test_how_the_last_episode_ended_is_not_told_in_the_next(world):
    """The package answers a question that takes no time with the score of the episode before."""
    task = world.tasks(SHORT, "train", 1)[0]
    ask = next(one for one in world.reset(task).candidates if one.text == "task")
    fresh = world.step(ask)
    path = world.gold_path(task)
    world.reset(task)
    assert [world.step(world.as_candidate(action)).done for action in path][-1]
    world.reset(task)
    again = world.step(ask)
    assert (again.done, again.success, again.reward) == (False, None, fresh.reward)


@pytest.mark.slow
def test_folds_share_no_task_and_states_start_alike(world):
    folds = [{task.task_id for task in world.tasks(SHORT, fold, 3)} for fold in ("train", "dev", "test")]
    assert len(set.union(*folds)) == sum(map(len, folds)) == 9
    task = world.tasks(SHORT, "dev", 1)[0]
    assert world.reset(task).state == world.reset(task).state


@pytest.mark.slow
@pytest.mark.parametrize("task_id", ["chess/1", f"{SHORT}/x"])
def test_a_task_that_does_not_exist_is_named(world, task_id):
    task = world.tasks(SHORT, "train", 1)[0]
    with pytest.raises(UsageError, match=task_id):
        world.reset(type(task)("", task_id))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 14, 300])
def test_every_item_comes_once_and_every_beginning_is_spread(count):
    order = spread(range(count))
    assert sorted(order) == list(range(count))
    for first in range(2, count):
        gaps = np.diff([*sorted(order[:first]), count])
        assert gaps.max() <= 2 * (count / first) + 1


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "scienceworld", None)
    with pytest.raises(MissingDependency, match=r'pip install "trajstore\[demo\]"'):
        ScienceWorldEnvironment()
