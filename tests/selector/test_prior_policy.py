"""A trained policy as the prior of the selector's choice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from tiny_logs import WordEmbedder
from tiny_policies import COLOURS, random_policy
from tiny_worlds import at, coloured_presses, learned_from

from grpo.tool_policy import ToolPolicy
from selector.engine import Engine
from selector.prior_policy import pooled_logits
from selector.records import SelectorConfig
from selector.selector import Selector
from selector.situation import Situation
from trajstore.store import TrajectoryStore

BUTTONS = tuple(f"press_{colour}" for colour in COLOURS)
LOGITS = st.lists(st.tuples(st.floats(-20, 0), st.floats(-20, 0)), min_size=1, max_size=8).map(np.array)
OFTEN = 300


class Stubborn:
    """Wants the last candidate."""

    version = 0

    def log_probabilities(self, situation: Situation) -> np.ndarray:
        count = len(situation.candidates)
        wanted = np.full(count, 0.01 / max(count - 1, 1))
        wanted[-1] = 0.99
        return np.log(wanted)


def engine(policy=None, seed: int = 0, **settings) -> Engine:
    config = SelectorConfig(**settings)
    learned = learned_from(coloured_presses(12), WordEmbedder(*COLOURS, "lamp"), config)
    return Engine(learned, config, np.random.default_rng(seed), policy=policy)


def probabilities(deciding: Engine, situation: Situation) -> np.ndarray:
    return deciding.probabilities(situation, deciding.learned.knowledge.goal_similarities(situation))


@given(LOGITS)
def test_weight_0_changes_nothing_and_weight_1_is_the_policy(pair):
    experience, policy = pair.T
    assert (pooled_logits(experience, policy, 0.0) == experience).all()
    assert (pooled_logits(experience, policy, 1.0) == policy).all()


@given(LOGITS, st.floats(0, 1))
def test_where_both_agree_on_an_order_the_pool_does_too(pair, weight):
    pooled = pooled_logits(*pair.T, weight)
    order = np.sign(pair[:, None, :] - pair[None, :, :])
    agreed = order[..., 0] == order[..., 1]
    assert ((pooled[:, None] - pooled[None, :])[agreed] * order[..., 0][agreed] >= -1e-12).all()


def test_a_policy_of_weight_0_changes_no_probability():
    situation = at("the lamp is red", *BUTTONS)
    without, beside = engine(), engine(Stubborn(), policy_weight=0.0)
    assert (probabilities(beside, situation) == probabilities(without, situation)).all()


def test_a_policy_of_weight_1_decides_the_order():
    policy = random_policy(3)
    deciding = engine(policy, policy_weight=1.0)
    for colour in COLOURS:
        situation = at(f"the lamp is {colour}", *BUTTONS)
        goals = deciding.learned.knowledge.goal_similarities(situation)
        believed = deciding.consider(situation, goals).posterior.mean
        assert believed == pytest.approx(np.exp(policy.log_probabilities(situation)), abs=1e-6)


def test_the_heavier_the_policy_the_more_its_opinion_counts():
    situation = at("the lamp is red", *BUTTONS)
    wanted = []
    for weight in (0.0, 0.4, 0.8):
        deciding = engine(Stubborn(), policy_weight=weight)
        goals = deciding.learned.knowledge.goal_similarities(situation)
        wanted.append(deciding.consider(situation, goals).posterior.mean[-1])
    assert wanted[0] < wanted[1] < wanted[2]


def test_propensities_beside_a_policy_are_the_shares_of_what_is_chosen():
    situation = at("the lamp is red", *BUTTONS)
    deciding = engine(Stubborn(), policy_weight=0.6, exploration=0.6)
    goals = deciding.learned.knowledge.goal_similarities(situation)
    expected = probabilities(deciding, situation)
    decisions = [deciding.decide(situation, goals) for _ in range(OFTEN)]
    places = [BUTTONS.index(decision.tool) for decision in decisions if decision.tool is not None]
    assert len(places) == OFTEN
    assert expected.sum() == pytest.approx(1.0, abs=1e-6)
    assert chisquare(np.bincount(places, minlength=3), OFTEN * expected / expected.sum()).pvalue > 1e-4
    for place, decision in zip(places, decisions, strict=True):
        assert decision.propensity == pytest.approx(expected[place], abs=1e-6)


def test_a_selector_takes_a_trained_policy(store: TrajectoryStore):
    store.add_many(coloured_presses(20))
    selector = Selector(store, seed=1, policy=ToolPolicy.untrained(hidden=4))
    decision = selector.choose("press the button", "the lamp is red", tools=BUTTONS)
    assert 0.0 < decision.propensity <= 1.0


def test_an_untrained_policy_changes_no_order():
    situation = at("the lamp is blue", *BUTTONS)
    without, beside = engine(), engine(ToolPolicy.untrained(hidden=4))
    assert probabilities(beside, situation).argmax() == probabilities(without, situation).argmax() == 1
