"""The conditional logit against a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.choice_model import ActionFeatures, ChoiceModel, softmax, unfitted
from selector.crosses import CROSSES, NONE
from selector.features import STATE_FEATURES, Sparse
from selector.knowledge import EXPERTS
from selector.relations import RELATIONS

TOOLS = 3


def random_model(rng: np.random.Generator) -> ChoiceModel:
    return ChoiceModel(
        rng.normal(size=len(EXPERTS)),
        rng.normal(size=len(RELATIONS)),
        rng.normal(size=(TOOLS + 1, len(RELATIONS))),
        rng.normal(size=(STATE_FEATURES, TOOLS + 1)),
        np.append(rng.normal(size=CROSSES), 0.0),
    )


@pytest.mark.parametrize("with_actions", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_logits_are_the_formula_candidate_by_candidate(seed, with_actions):
    rng = np.random.default_rng(seed)
    model, count = random_model(rng), 7
    experts, relations = rng.normal(size=(count, len(EXPERTS))), rng.normal(size=(count, len(RELATIONS)))
    crosses = np.where(rng.random((count, 9)) < 0.3, NONE, rng.integers(0, CROSSES, (count, 9)))
    tools = rng.integers(-1, TOOLS + 2, count)  # -1 and what came after the fit were never seen by the model
    features = Sparse(rng.integers(0, STATE_FEATURES, 20), rng.normal(size=20))
    found = model.logits(experts, features, tools, ActionFeatures(relations, crosses) if with_actions else None)
    for candidate in range(count):
        tool = tools[candidate] if 0 <= tools[candidate] < TOOLS else TOOLS
        logit = sum(model.experts[e] * experts[candidate, e] for e in range(len(EXPERTS)))
        logit += sum(
            value * model.state[place, tool] for place, value in zip(features.places, features.values, strict=True)
        )
        if with_actions:
            logit += sum(model.crosses[cross] for cross in crosses[candidate] if cross != NONE)
            for r in range(len(RELATIONS)):
                logit += relations[candidate, r] * (model.relations[r] + model.tool_relations[tool, r])
        assert found[candidate] == pytest.approx(logit)


def test_before_any_fit_words_say_nothing_and_experts_are_pooled_equally():
    model = unfitted(TOOLS)
    assert len(set(model.experts[:5])) == 1
    assert not model.state.any()
    assert not model.relations.any()
    assert not model.tool_relations.any()
    assert not model.crosses.any()


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=6), st.floats(-1000, 1000))
def test_softmax_is_a_distribution_that_no_shift_changes(logits, shift):
    probabilities = softmax(np.array(logits))
    assert probabilities.sum() == pytest.approx(1.0)
    assert softmax(np.array(logits) + shift) == pytest.approx(probabilities, rel=1e-9, abs=1e-12)
