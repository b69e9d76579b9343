"""How an agent does on a panel of tasks."""

import numpy as np
import pytest
from tiny_policies import Breaking, Lamps, random_policy, tasks, untrained

from grpo.collector import CollectionConfig
from grpo.errors import TrainingUsageError
from grpo.evaluator import AgentEvaluator, panel_name
from grpo.protocols import Action
from selector.situation import Situation
from trajstore.schema import Task

WORDS = ("red", "blue", "green")


class Knowing:
    """Presses the right button with probability `skill`, else the next one."""

    version = 3

    def __init__(self, skill: float = 1.0) -> None:
        self._skill = skill

    def log_probabilities(self, situation: Situation, *, temperature: float = 1.0) -> np.ndarray:
        chances = np.full(3, 1e-12)
        right = WORDS.index(situation.state.split()[-1])
        chances[right], chances[(right + 1) % 3] = self._skill, 1.0 - self._skill + 1e-12
        return np.log(chances / chances.sum())

    def act_with_exploration(
        self, situation: Situation, rng: np.random.Generator, *, temperature: float = 1.0
    ) -> Action:
        log_probabilities = self.log_probabilities(situation)
        place = int(rng.choice(3, p=np.exp(log_probabilities)))
        return Action(place, float(log_probabilities[place]))


def test_the_best_policy_scores_one():
    scores = AgentEvaluator(Lamps(), tasks(10)).evaluate(Knowing())
    assert scores.success_rate.value == scores.average_reward.value == scores.tool_accuracy.value == 1.0
    assert scores.average_steps.value == 2.0
    assert (scores.success_rate.low, scores.success_rate.high) == (1.0, 1.0)
    assert (scores.tasks, scores.rollouts, scores.failed) == (10, 30, 0)


def test_scores_lie_within_their_intervals():
    scores = AgentEvaluator(Lamps(), tasks(40)).evaluate(untrained())
    assert scores.average_reward.low <= 1 / 3 <= scores.average_reward.high
    assert scores.success_rate.low <= 1 / 9 <= scores.success_rate.high
    assert scores.success_rate.low < scores.success_rate.value < scores.success_rate.high


def test_a_policy_gains_nothing_over_itself():
    gained = AgentEvaluator(Lamps(), tasks(6)).compare(random_policy(), random_policy())
    assert gained.before == gained.after
    assert (gained.success_gain.value, gained.reward_gain.low, gained.reward_gain.high) == (0.0, 0.0, 0.0)


def test_a_gain_is_what_the_second_has_more_than_the_first():
    compared = AgentEvaluator(Lamps(), tasks(30)).compare(untrained(), Knowing(0.9))
    difference = compared.after.average_reward.value - compared.before.average_reward.value
    assert compared.reward_gain.value == pytest.approx(difference)
    assert compared.reward_gain.low > 0.3


def test_the_same_policy_scores_the_same_again():
    evaluator = AgentEvaluator(Lamps, tasks(8), limits=CollectionConfig(concurrency=3))
    assert evaluator.evaluate(untrained()) == evaluator.evaluate(untrained())


def test_what_the_infrastructure_spoils_counts_nowhere():
    some = (*tasks(4), Task("breaks in step"), Task("breaks in reset"))
    scores = AgentEvaluator(Breaking, some, seeds=2).evaluate(Knowing())
    assert (scores.success_rate.value, scores.failed, scores.rollouts) == (1.0, 4, 12)


def test_where_everything_is_spoilt_nothing_is_known():
    scores = AgentEvaluator(Breaking, (Task("breaks in reset"),)).evaluate(Knowing())
    assert np.isnan(scores.success_rate.value)
    assert scores.failed == 3


def test_a_panel_is_named_by_its_tasks_whatever_their_order():
    assert panel_name(tasks(5)) == panel_name(tasks(5)[::-1])
    assert panel_name(tasks(5)) != panel_name(tasks(6))
    assert AgentEvaluator(Lamps(), tasks(5)).panel == panel_name(tasks(5))


def test_environments_made_for_a_panel_are_closed():
    closed: list[int] = []

    class Closing(Lamps):
        def close(self) -> None:
            closed.append(1)

    AgentEvaluator(lambda: Closing(), tasks(2)).evaluate(Knowing())  # noqa: PLW0108 - a function, not a class
    assert len(closed) <= 1


@pytest.mark.parametrize(
    ("some", "seeds", "rule"), [((), 3, "at least one task"), (tasks(1), 0, "seeds must be 1 or more, got 0")]
)
def test_a_panel_without_tasks_or_seeds_is_refused(some, seeds, rule):
    with pytest.raises(TrainingUsageError, match=rule):
        AgentEvaluator(Lamps(), some, seeds=seeds)
