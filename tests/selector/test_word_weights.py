"""Which words of tasks matter, by stored paths alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from selector.path_relations import StoredPath
from selector.word_neighbours import bags_of, nearest_texts
from selector.word_weights import NO_WEIGHTS, RIDGE, distance, fit_word_weights

COLOURS = ("red", "blue", "green", "black")


def carried(kind: str, colour: str) -> StoredPath:
    """A plant is in the garden, an animal in the yard; either goes into the box of the colour."""
    place, thing = {"plant": ("garden", "tree"), "animal": ("yard", "dog")}[kind]
    calls = (("go", place), ("look", "around"), ("take", thing), ("put", f"{thing} {colour} box"))
    tools, args = zip(*calls, strict=True)
    return StoredPath(f"find a {kind} and put it in the {colour} box", tools, args, np.zeros((len(calls), 1)))


PATHS = [carried(kind, colour) for kind in ("plant", "animal") for colour in COLOURS] * 3


def test_words_that_change_the_path_matter_and_those_that_are_exchanged_do_not():
    weights = fit_word_weights(PATHS)
    assert weights.weights.keys() == {"plant", "animal"}
    same_kind = weights.apart(PATHS[0].task, PATHS[1].task)
    same_colour = weights.apart(PATHS[0].task, PATHS[len(COLOURS)].task)
    assert same_kind == 0.0
    assert 0.3 < same_colour <= 1.0


def test_a_path_taken_for_the_other_task_is_as_far_from_it_as_their_calls_differ():
    assert distance(carried("plant", "red"), carried("plant", "blue")) == 0.0
    assert distance(carried("plant", "red"), carried("animal", "red")) == 1.0 - 1 / 7


def test_without_differences_there_are_no_weights():
    assert fit_word_weights([]) == fit_word_weights(PATHS[:1]) == fit_word_weights(PATHS[:1] * 9) == NO_WEIGHTS


def test_the_weights_are_those_of_non_negative_least_squares():
    """The ridge as further rows (Lawson & Hanson 1974), with the constant last."""
    paths = PATHS[::2]
    weights = fit_word_weights(paths)
    texts = [frozenset(path.task.split()) for path in paths]
    numbers, bags = bags_of(texts)
    pairs = [(one, other) for one in range(len(paths)) for other in range(len(paths)) if one != other]
    apart = np.array([distance(paths[other], paths[one]) for one, other in pairs])
    differing = np.array([abs(bags[one] - bags[other]).toarray()[0] for one, other in pairs])
    ridge = np.sqrt(RIDGE) * np.eye(len(numbers))
    rows = np.block([[differing, np.ones((len(pairs), 1))], [ridge, np.zeros((len(numbers), 1))]])
    found, _ = nnls(rows, np.concatenate([apart, np.zeros(len(numbers))]))
    fitted = [weights.weights.get(word, 0.0) for word in numbers]
    np.testing.assert_allclose(fitted, found[:-1], atol=2e-3)


words = st.frozensets(st.sampled_from("abcdefgh"), max_size=6)


@settings(deadline=None)
@given(st.lists(words, min_size=1, max_size=12), st.integers(1, 5))
def test_the_nearest_texts_are_those_of_greatest_cosine(texts: list[frozenset[str]], most: int):
    every = np.arange(len(texts))
    places, cosines = nearest_texts(texts, every, every, most)
    for one, (near, found) in enumerate(zip(places, cosines, strict=True)):
        others = [
            -1.0 if other == one else len(texts[one] & text) / max((len(texts[one]) * len(text)) ** 0.5, 1.0)
            for other, text in enumerate(texts)
        ]
        np.testing.assert_allclose(found, sorted(others, reverse=True)[:most], atol=1e-12)
        np.testing.assert_allclose([others[place] for place in near], found, atol=1e-12)
