"""Environments of other packages behind the `World` protocol: gold paths succeed, and tasks are the same each time."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from selector.demo.collect import CollectSettings, collect
from selector.demo.world import World
from trajstore.schema import Candidate

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
GOLD = CollectSettings(gold=1, detours=0, random=0, max_steps=64)


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [one for one in packages if importlib.util.find_spec(one) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{' and '.join(missing)} not installed: its tasks are not here")


GAMES = [
    pytest.param("textworld", "cooking", marks=needs("textworld")),
    pytest.param("textworld", "dinner", marks=needs("textworld")),
    pytest.param("pddlgym", "manyferry", marks=needs("pddlgym", "pyperplan")),
    pytest.param("pddlgym", "minecraft", marks=needs("pddlgym", "pyperplan")),
    pytest.param("babyai", "PickupLoc", marks=needs("minigrid")),
    pytest.param("babyai", "UnlockLocalDist", marks=needs("minigrid")),
]


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The benchmarks are scripts that find each other in their own folder; what they make goes elsewhere."""
    sys.path.insert(0, BENCHMARKS)
    monkeypatch.chdir(tmp_path)
    try:
        from environments_foreign import FOREIGN

        with closing(FOREIGN[request.param].make()) as made:
            yield made
    finally:
        sys.path.remove(BENCHMARKS)


@pytest.mark.parametrize(("world", "game"), GAMES, indirect=["world"])
def test_the_path_that_the_package_knows_succeeds_and_earns_all(world: World, game: str):
    (task,) = world.tasks(game, "train", 1)
    (gold,) = collect(world, [task], GOLD)
    assert gold.success
    assert gold.reward == pytest.approx(1.0)
    assert all(any(one.tool == step.tool for one in step.candidates) for step in gold.steps)


@pytest.mark.parametrize(("world", "game"), GAMES, indirect=["world"])
def test_a_fold_has_tasks_of_its_own_that_are_the_same_each_time(world: World, game: str):
    train, test = (world.tasks(game, fold, 1)[0] for fold in ("train", "test"))
    assert train.task_id != test.task_id
    assert world.tasks(game, "train", 1) == (train,)
    assert world.gold_path(train) == world.gold_path(train)


@needs("pddlgym", "pyperplan")
@pytest.mark.parametrize("world", ["pddlgym"], indirect=True)
def test_an_operator_that_does_not_apply_is_refused_and_changes_nothing(world: World):
    (task,) = world.tasks("manyferry", "train", 1)
    start = world.reset(task)
    offered = {one.text for one in start.candidates}
    later = next(action for action in world.gold_path(task) if action not in offered)
    refused, unknown = (world.step(one) for one in (world.as_candidate(later), Candidate("fly", {"to": "l1"})))
    assert (refused.outcome, unknown.outcome) == ("tool_error", "invalid_args")
    assert refused.candidates == unknown.candidates == start.candidates
