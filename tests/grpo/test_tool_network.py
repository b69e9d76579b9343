"""The function that is trained is the function that decides."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_policies import encoded, random_policy, random_situations

from grpo.decision_table import DecisionTable
from grpo.tool_network import ToolNetwork


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_policy_and_network_agree_on_ragged_batches(seed):
    policy, situations = random_policy(seed, hidden=16), random_situations(12, seed)
    decisions, vectors = encoded(situations, policy)
    table = DecisionTable(decisions, vectors)
    logs = ToolNetwork(policy.shape, policy.weights).log_probabilities(table.batch(torch.arange(12)))
    for situation, row in zip(situations, logs.detach().numpy(), strict=True):
        count = len(situation.candidates)
        assert row[:count] == pytest.approx(policy.log_probabilities(situation), abs=1e-4)
        assert (row[count:] < -1e6).all()


def test_policy_and_network_agree_at_every_temperature():
    policy, situations = random_policy(), random_situations(5)
    decisions, vectors = encoded(situations, policy)
    batch = DecisionTable(decisions, vectors).batch(torch.arange(5))
    for temperature in (0.5, 3.0):
        logs = ToolNetwork(policy.shape, policy.weights).log_probabilities(batch, temperature).detach().numpy()
        for situation, row in zip(situations, logs, strict=True):
            expected = policy.log_probabilities(situation, temperature=temperature)
            assert row[: len(expected)] == pytest.approx(expected, abs=1e-4)


def test_weights_go_in_and_come_out_unchanged():
    policy = random_policy()
    network = ToolNetwork(policy.shape, policy.weights)
    found = network.to_weights()
    assert found.keys() == policy.weights.keys()
    assert all((found[name] == weights).all() for name, weights in policy.weights.items())


def test_what_the_network_learns_does_not_reach_into_the_policy():
    policy = random_policy()
    before = {name: weights.copy() for name, weights in policy.weights.items()}
    network = ToolNetwork(policy.shape, policy.weights)
    taken = network.to_weights()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    assert all((policy.weights[name] == weights).all() for name, weights in before.items())
    assert all((taken[name] == weights).all() for name, weights in before.items())


def test_every_weight_has_a_gradient():
    policy, situations = random_policy(), random_situations(30)
    decisions, vectors = encoded(situations, policy)
    network = ToolNetwork(policy.shape, policy.weights)
    network.log_probabilities(DecisionTable(decisions, vectors).batch(torch.arange(30)))[:, 0].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0.0, name


def test_the_gradient_is_the_slope():
    policy, situations = random_policy(), random_situations(6)
    decisions, vectors = encoded(situations, policy)
    batch = DecisionTable(decisions, vectors).batch(torch.arange(6))
    network = ToolNetwork(policy.shape, policy.weights)
    network.log_probabilities(batch)[:, 0].sum().backward()
    parameter = network.get_parameter("joint_J")
    gradient = parameter.grad.numpy()
    for place in range(len(gradient)):
        values = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                parameter[place] += sign * 0.01
                values.append(float(network.log_probabilities(batch)[:, 0].sum()))
                parameter[place] -= sign * 0.01
        assert (values[0] - values[1]) / 0.02 == pytest.approx(gradient[place], abs=2e-2, rel=2e-2)


def test_an_extreme_network_still_gives_finite_numbers():
    policy, situations = random_policy(), random_situations(6)
    weights = {name: 100.0 * array for name, array in policy.weights.items()}
    decisions, vectors = encoded(situations, policy)
    batch = DecisionTable(decisions, vectors).batch(torch.arange(6))
    logs = ToolNetwork(policy.shape, weights).log_probabilities(batch).detach().numpy()
    assert np.isfinite(logs).all()
    again = policy.with_weights(weights, version=1)
    for situation in situations:
        with np.errstate(over="raise", invalid="raise"):
            assert np.isfinite(again.log_probabilities(situation)).all()
