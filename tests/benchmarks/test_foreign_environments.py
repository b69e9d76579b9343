"""TextWorld behind the `World` protocol: its walkthrough succeeds, and games are made of seeds alone."""

import importlib.util
import sys
from pathlib import Path

import pytest

from selector.demo.collect import CollectSettings, collect
from selector.demo.world import World

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("textworld") is None, reason="textworld is not installed: its games are not here"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The benchmarks are scripts that find each other in their own folder."""
    sys.path.insert(0, BENCHMARKS)
    try:
        from environments.textworld import TextWorldEnvironment

        world = TextWorldEnvironment(tmp_path_factory.mktemp("games"))
        yield world
        world.close()
    finally:
        sys.path.remove(BENCHMARKS)


@pytest.mark.parametrize("game", ["cooking", "dinner"])
def test_the_path_that_the_package_knows_succeeds_and_earns_all(world: World, game: str):
    (task,) = world.tasks(game, "train", 1)
    (gold,) = collect(world, [task], CollectSettings(gold=1, detours=0, random=0))
    assert gold.success
    assert gold.reward == pytest.approx(1.0)
    assert all(step.candidates for step in gold.steps)


def test_a_fold_has_games_of_its_own_that_are_made_once(world: World):
    train, test = (world.tasks("dinner", fold, 1)[0] for fold in ("train", "test"))
    assert train.task_id != test.task_id
    assert world.tasks("dinner", "train", 1) == (train,)
    assert world.gold_path(train) == world.gold_path(train)
