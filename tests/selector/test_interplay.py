"""The small network on top of the choice model: its gradient, what it can learn, and that it changes nothing else."""

from dataclasses import replace

import numpy as np
from test_fitting import TOOLS, random_examples

from selector import interplay
from selector.choice_model import ChoiceModel, softmax
from selector.fitting import FEWEST_TOLD, Example, fit, with_interplay
from selector.interplay import Decisions, fit_interplay


def decisions(count: int, *, seed: int = 0, candidates: int = 4, features: int = 3) -> Decisions:
    """Decisions in which the right candidate is the only one whose first two features differ (an exclusive or)."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(count, candidates, features)).astype(np.float32)
    same = rng.integers(0, 2, (count, candidates))
    made[:, :, 0] = made[:, :, 1] = same
    chosen = rng.integers(0, candidates, count)
    made[np.arange(count), chosen, 1] = 1 - same[np.arange(count), chosen]
    starts = candidates * np.arange(count)
    weights = np.ones(count, np.float32)
    flat = made.reshape(-1, features)
    return Decisions(flat, np.zeros(len(flat), np.float32), starts, starts + chosen, weights)


def share_right(found: interplay.Interplay, asked: Decisions) -> float:
    added = found.of(asked.features).reshape(len(asked.starts), -1)
    return float(np.mean(added.argmax(axis=1) == asked.chosen - asked.starts))


def test_it_learns_what_no_sum_of_features_says() -> None:
    found = fit_interplay(decisions(1500))
    assert share_right(found, decisions(300, seed=1)) > 0.9


def test_the_same_seed_learns_the_same() -> None:
    known = decisions(200)
    one, other = fit_interplay(known, seed=3), fit_interplay(known, seed=3)
    assert np.array_equal(one.inner, other.inner)
    assert np.array_equal(one.outer, other.outer)


def test_the_slopes_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    known = decisions(6)
    known = replace(known, logits=rng.normal(size=len(known.logits)).astype(np.float32))
    inner, outer = rng.normal(size=(4, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    batch = np.array([4, 1, 3])

    def loss(weights: list[np.ndarray]) -> float:
        hidden = np.maximum(known.features.astype(np.float64) @ weights[0][:-1] + weights[0][-1], 0.0)
        logits = (known.logits + hidden @ weights[1]).reshape(len(known.starts), -1)
        right = (known.chosen - known.starts)[batch]
        return -float(np.mean([np.log(softmax(logits[at])[place]) for at, place in zip(batch, right, strict=True)]))

    slopes = interplay._slopes([inner, outer], known.features, known, batch)
    for number, place in ((0, (0, 1)), (0, (2, 4)), (0, (3, 0)), (1, (2,))):
        up, down = ([inner.astype(np.float64), outer.astype(np.float64)] for _ in range(2))
        up[number][place] += 1e-5
        down[number][place] -= 1e-5
        assert np.isclose(slopes[number][place], (loss(up) - loss(down)) / 2e-5, atol=1e-4)


def fitted(examples: list[Example]) -> ChoiceModel:
    return with_interplay(fit(examples, TOOLS), examples)


def test_few_decisions_and_bare_tools_are_left_to_the_linear_weights() -> None:
    assert fitted(random_examples(FEWEST_TOLD)).interplay is None
    bare = [replace(one, actions=None) for one in random_examples(2 * FEWEST_TOLD)]
    assert fitted(bare).interplay is None


def test_only_grounded_candidates_are_told_more() -> None:
    examples = random_examples(4 * FEWEST_TOLD, true_experts=(1.0,))
    model = fitted(examples)
    linear = replace(model, interplay=None)
    for one in examples[:40]:
        given = one.experts, one.features, one.tools, one.actions
        assert np.allclose(model.logits(*given), linear.logits(*given)) == (one.actions is None)
