"""Fitting the choice model: gradients, optimality against an objective written out, and planted weights."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import check_grad

from selector.choice_model import ActionFeatures, ChoiceModel, softmax, unfitted
from selector.crosses import CROSSES, NONE
from selector.features import STATE_FEATURES, Sparse
from selector.fitting import EVERYTHING, Example, Familiar, Penalties, _design, familiar_among, fit
from selector.knowledge import EXPERTS
from selector.relations import RELATIONS

TOOLS = 3
EMPTY = Sparse(np.zeros(0, np.int64), np.zeros(0))
FROZEN_TOOLS = Penalties(experts=1e-6, relations=1e-6, tools=1e6)


def random_examples(
    count: int, *, seed: int = 0, true_experts: Sequence[float] = (), wrong: float = 0.0
) -> list[Example]:
    """Decisions with 2 to 5 candidates, chosen by the logit of `true_experts`."""
    rng = np.random.default_rng(seed)
    weights = np.zeros(len(EXPERTS))
    weights[: len(true_experts)] = true_experts
    made = []
    for _ in range(count):
        candidates = int(rng.integers(2, 6))
        experts = rng.normal(size=(candidates, len(EXPERTS)))
        made.append(
            Example(
                experts=experts,
                features=Sparse(rng.integers(0, STATE_FEATURES, 5), rng.normal(size=5)),
                tools=rng.integers(-1, TOOLS, candidates),
                actions=random_actions(rng, candidates) if rng.random() < 0.5 else None,
                chosen=int(rng.choice(candidates, p=softmax(experts @ weights))),
                weight=float(rng.uniform(0.2, 1.0)),
                is_wrong=bool(rng.random() < wrong),
            )
        )
    return made


def random_actions(rng: np.random.Generator, candidates: int) -> ActionFeatures:
    crosses = np.where(rng.random((candidates, 6)) < 0.5, NONE, rng.integers(0, CROSSES, (candidates, 6)))
    return ActionFeatures(rng.random((candidates, len(RELATIONS))), crosses)


def loss(model: ChoiceModel, examples: Sequence[Example]) -> float:
    """Weighted −ln p of what was right and −ln(1 − p) of what was wrong, one example after another."""
    total = 0.0
    for one in examples:
        share = softmax(model.logits(one.experts, one.features, one.tools, one.actions))[one.chosen]
        total -= one.weight * np.log(1.0 - share if one.is_wrong else share)
    return total


def shared_objective(weights: np.ndarray, examples: Sequence[Example], penalties: Penalties) -> float:
    """What the first step minimises, with the weights of single tools at 0."""
    start = unfitted(TOOLS)
    experts, relations = weights[: len(EXPERTS)], weights[len(EXPERTS) :]
    total = sum(one.weight for one in examples)
    drawn_back = penalties.experts * ((experts - start.experts) ** 2).sum() + penalties.relations * (relations**2).sum()
    return loss(replace(start, experts=experts, relations=relations), examples) + total * drawn_back


def tools_objective(model: ChoiceModel, examples: Sequence[Example], penalties: Penalties) -> float:
    """What the second step minimises."""
    own = penalties.tools * ((model.state**2).sum() + (model.tool_relations**2).sum())
    return loss(model, examples) + 0.5 * (own + penalties.crosses * (model.crosses**2).sum())


def test_the_gradient_of_the_loss_is_that_of_finite_differences():
    design = _design(random_examples(12, wrong=0.4), TOOLS)
    logits = np.random.default_rng(1).normal(size=len(design.tools))
    error = check_grad(lambda z: design.losses(z)[0], lambda z: design.losses(z)[1], logits)
    assert error < 1e-5


def test_the_loss_is_that_of_a_loop_over_decisions_with_different_numbers_of_candidates():
    examples = random_examples(20, wrong=0.4)
    design = _design(examples, TOOLS)
    start = unfitted(TOOLS)
    logits = design.shared @ np.concatenate([start.experts, start.relations])
    assert design.losses(logits)[0] == pytest.approx(loss(start, examples))


def test_no_other_shared_weights_are_better():
    examples, penalties = random_examples(40, true_experts=[1.0]), Penalties()
    model, rng = fit(examples, TOOLS, penalties), np.random.default_rng(0)
    found = np.concatenate([model.experts, model.relations])
    best = shared_objective(found, examples, penalties)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(10):
            other = found + size * rng.normal(size=len(found))
            other[: len(EXPERTS)] = np.clip(other[: len(EXPERTS)], 0.0, 3.0)
            assert shared_objective(other, examples, penalties) >= best - 1e-6


def test_no_other_weights_of_single_tools_are_better():
    examples, penalties = random_examples(40, true_experts=[1.0]), Penalties(tools=0.5, iterations=500)
    model, rng = fit(examples, TOOLS, penalties), np.random.default_rng(0)
    best = tools_objective(model, examples, penalties)
    touched = np.unique(np.concatenate([one.features.places for one in examples]))
    crossed = np.unique(np.concatenate([one.actions.crosses.ravel() for one in examples if one.actions is not None]))
    crossed = crossed[crossed != NONE]
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(5):
            state = model.state.copy()
            state[touched] += size * rng.normal(size=(len(touched), TOOLS + 1))
            relations = model.tool_relations + size * rng.normal(size=model.tool_relations.shape)
            crosses = model.crosses.copy()
            crosses[crossed] += size * rng.normal(size=len(crossed))
            other = replace(model, state=state, tool_relations=relations, crosses=crosses)
            assert tools_objective(other, examples, penalties) >= best - 1e-4


def test_a_planted_expert_is_found():
    model = fit(random_examples(3000, true_experts=[2.0, 0.0, 1.0]), TOOLS, FROZEN_TOOLS)
    assert model.experts[:3] == pytest.approx([2.0, 0.0, 1.0], abs=0.15)
    assert model.experts[3:] == pytest.approx(np.zeros(len(EXPERTS) - 3), abs=0.15)


def test_a_planted_word_is_found():
    rng, examples = np.random.default_rng(0), []
    for _ in range(200):
        says_blue = bool(rng.random() < 0.5)
        features = Sparse(np.array([7 if says_blue else 3]), np.ones(1))
        examples.append(
            Example(np.zeros((2, len(EXPERTS))), features, np.array([0, 1]), None, chosen=int(says_blue), weight=1.0)
        )
    model = fit(examples, TOOLS)
    blue = model.logits(np.zeros((2, len(EXPERTS))), Sparse(np.array([7]), np.ones(1)), np.array([0, 1]))
    assert softmax(blue)[1] > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_a_fit_is_never_worse_on_its_own_decisions_than_the_unfitted_model(seed):
    examples = random_examples(int(10 + 20 * seed), seed=seed, true_experts=[0.5])
    assert loss(fit(examples, TOOLS), examples) <= loss(unfitted(TOOLS), examples) + 1e-9


def test_a_strong_penalty_leaves_the_model_unfitted():
    model = fit(random_examples(30), TOOLS, Penalties(experts=1e9, relations=1e9, tools=1e9))
    start = unfitted(TOOLS)
    assert model.experts == pytest.approx(start.experts, abs=1e-5)
    assert abs(model.state).max() < 1e-5
    assert abs(model.tool_relations).max() < 1e-5


def test_no_expert_is_ever_believed_the_wrong_way_round():
    assert (fit(random_examples(300, true_experts=[-2.0]), TOOLS, FROZEN_TOOLS).experts >= 0).all()


def test_without_examples_the_model_is_the_unfitted_one():
    model, start = fit([], TOOLS), unfitted(TOOLS)
    for name in ("experts", "relations", "tool_relations", "state"):
        assert np.array_equal(getattr(model, name), getattr(start, name))


def test_a_decision_of_weight_zero_changes_nothing():
    examples = random_examples(30)
    extra = replace(random_examples(1, seed=9)[0], weight=0.0)
    one, other = fit(examples, TOOLS), fit([*examples, extra], TOOLS)
    assert one.experts == pytest.approx(other.experts, abs=1e-4)


def test_the_order_of_the_examples_does_not_matter():
    examples = random_examples(30)
    one, other = fit(examples, TOOLS), fit(examples[::-1], TOOLS)
    assert one.experts == pytest.approx(other.experts, abs=1e-4)
    assert one.state == pytest.approx(other.state, abs=1e-3)


def test_a_planted_cross_is_found_and_holds_for_tools_alike():
    rng, examples = np.random.default_rng(0), []
    for _ in range(200):
        crosses = rng.permutation(np.array([[5, NONE], [9, NONE]]))
        actions = ActionFeatures(np.zeros((2, len(RELATIONS))), crosses)
        chosen = int(np.flatnonzero(crosses[:, 0] == 5)[0])
        examples.append(Example(np.zeros((2, len(EXPERTS))), EMPTY, np.array([0, 0]), actions, chosen, 1.0))
    model = fit(examples, TOOLS)
    assert model.crosses[5] > 1.0 > -1.0 > model.crosses[9]
    assert model.crosses[NONE] == 0.0


def test_what_was_wrong_becomes_less_probable_than_before():
    bias = Sparse(np.array([3]), np.ones(1))
    wrong = Example(np.zeros((3, len(EXPERTS))), bias, np.array([0, 1, 2]), None, 1, 1.0, is_wrong=True)
    model = fit([wrong] * 20, TOOLS)
    probabilities = softmax(model.logits(wrong.experts, wrong.features, wrong.tools))
    assert probabilities[1] < 0.2 < probabilities[0]


@pytest.mark.parametrize(
    ("step", "task", "is_strange"),
    [(0.9, 0.9, False), (0.1, 0.9, False), (0.9, 0.1, False), (0.1, 0.1, True), (0.1, 0.0, True), (0.58, 0.1, False)],
)
def test_a_moment_is_strange_only_where_neither_its_step_nor_its_task_comes_near(step, task, is_strange):
    assert Familiar(step=0.6, task=0.8).is_strange(step, task, 0.05) == is_strange


def test_a_task_without_words_does_not_make_a_strange_step_familiar():
    assert Familiar(0.6, 0.0).is_strange(0.1, 0.0, 0.05)


def test_nothing_is_strange_before_anything_was_stored():
    assert familiar_among([]) == EVERYTHING
    assert not EVERYTHING.is_strange(-1.0, -1.0, 0.0)


def test_all_but_the_strangest_hundredth_of_right_decisions_have_familiar_steps():
    rng = np.random.default_rng(0)
    examples = [
        replace(one, nearest_step=float(rng.random()), nearest_task=float(rng.random()))
        for one in random_examples(400, wrong=0.2)
    ]
    familiar, right = familiar_among(examples), [one for one in examples if not one.is_wrong]
    assert 0 < sum(one.nearest_step < familiar.step for one in right) <= len(right) // 100 + 1
