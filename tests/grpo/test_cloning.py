"""The policy that does what logged agents did."""

import numpy as np
import pytest
import torch
from tiny_policies import accuracy, logged_presses, untrained

from grpo.cloning import CloningConfig, _held_out, best_clone, clone, clone_store, log_loss, success_weights
from grpo.decision_table import DecisionTable
from grpo.encoding import Encoder
from grpo.errors import TrainingUsageError
from grpo.rollouts import encode_rollouts
from grpo.tool_policy import ToolPolicy
from trajstore.store import TrajectoryStore

QUICK = CloningConfig(passes=60, batch=16, learning_rate=0.02)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def prepared(trajectories):
    policy = untrained()
    encoder = Encoder(policy.encoder.embedder, most_texts=None)
    rollouts = encode_rollouts(trajectories, encoder)
    return policy, rollouts, DecisionTable(rollouts.decisions, encoder.table.vectors)


def cloned(trajectories, weights_N=None, config=QUICK) -> ToolPolicy:
    policy, rollouts, table = prepared(trajectories)
    return clone(policy, rollouts, table, np.ones(len(rollouts)) if weights_N is None else weights_N, config)


def test_an_agent_without_a_doubt_is_learned():
    assert accuracy(cloned(logged_presses(30, skill=1.0))) > 0.95


def test_a_clone_is_as_unsure_as_the_agent_was():
    assert accuracy(cloned(logged_presses(100, skill=0.6))) == pytest.approx(0.6, abs=0.1)


def test_decisions_of_weight_0_do_not_count():
    good, bad = logged_presses(20, skill=1.0), logged_presses(20, skill=0.0, seed=1)
    _, rollouts, _ = prepared([*good, *bad])
    weights_N = (rollouts.rollouts_N < len(good)).astype(float)
    assert accuracy(cloned([*good, *bad], weights_N)) > 0.95


def test_the_same_log_gives_the_same_clone():
    first, second = (cloned(logged_presses(8), config=CloningConfig(passes=3)) for _ in range(2))
    assert all((first.weights[name] == second.weights[name]).all() for name in first.weights)


def test_nothing_to_clone_is_refused():
    with pytest.raises(TrainingUsageError, match="every decision has weight 0"):
        cloned(logged_presses(2), np.zeros(16))


@pytest.mark.parametrize("seed", range(3))
def test_a_log_of_one_decision_can_be_cloned(seed):
    policy = cloned(logged_presses(1, members=1, length=1), config=CloningConfig(passes=2, seed=seed))
    assert np.isfinite(accuracy(policy))


def test_examples_are_what_successes_did():
    _, rollouts, _ = prepared(logged_presses(20))
    succeeded = rollouts.successes_R[rollouts.rollouts_N] == 1.0
    assert (success_weights(rollouts)[succeeded] > 0.0).all()
    assert not success_weights(rollouts)[~succeeded].any()


def test_the_best_clone_fits_left_out_successes_at_least_as_well_as_successes_alone():
    policy, rollouts, table = prepared(logged_presses(30, skill=0.7))
    asked = np.flatnonzero(_held_out(rollouts, QUICK)[rollouts.rollouts_N] & (success_weights(rollouts) > 0.0))
    best = best_clone(policy, rollouts, table, np.ones(len(rollouts.trajectories), np.bool_), QUICK)
    alone = clone(policy, rollouts, table, success_weights(rollouts), QUICK)
    assert log_loss(best, rollouts, table, asked) <= log_loss(alone, rollouts, table, asked)


def test_the_log_loss_is_the_mean_of_what_the_policy_gives():
    policy, rollouts, table = prepared(logged_presses(5))
    assert log_loss(policy, rollouts, table, np.arange(len(rollouts))) == pytest.approx(np.log(3), abs=1e-5)


def test_a_store_without_a_success_is_refused(store: TrajectoryStore):
    store.add_many(logged_presses(5, skill=0.0))
    with pytest.raises(TrainingUsageError, match="holds no successful trajectory"):
        clone_store(store)


def test_other_namespaces_are_not_cloned(store: TrajectoryStore):
    store.add_many(logged_presses(5, skill=1.0))
    with pytest.raises(TrainingUsageError, match="nothing to clone in namespace 'mine'"):
        clone_store(store, namespace="mine")


@pytest.mark.parametrize("name", ["passes", "batch", "patience"])
def test_counts_below_one_are_refused_by_name(name):
    with pytest.raises(TrainingUsageError, match=f"{name} must be 1 or more, got 0"):
        CloningConfig(**{name: 0})


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_something_must_be_held_out(share):
    with pytest.raises(TrainingUsageError, match="held_out must lie in"):
        CloningConfig(held_out=share)
