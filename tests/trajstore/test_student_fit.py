"""What a student learns from stored texts, and how it is measured."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import Ridge
from slow_words import ProjectedEmbedder, RandomEmbedder, fill, make_tasks

from trajstore.embedding import normalised, text_hash
from trajstore.schema import Task
from trajstore.store import TrajectoryStore
from trajstore.student import Student, piece_places, weighted_rows, words_of
from trajstore.student_corpus import SHARED, Corpus, read_corpus, unit_of
from trajstore.student_fit import Settings, clustered_interval, fit_student, fit_table, folds, recall


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_of(ProjectedEmbedder(), tasks=60)


def corpus_of(embedder: ProjectedEmbedder, *, tasks: int) -> Corpus:
    with TrajectoryStore(":memory:") as store:
        fill(store, embedder, make_tasks(tasks))
        return read_corpus(store, embedder.identity)


def features(text: str, known: frozenset[str]) -> dict[tuple[str, int | str], float]:
    """A text's terms by name: known words beside their pieces, which are all that others have, and pairs."""
    words = words_of(text, 1000)
    places, weights = weighted_rows(words, {})  # without a vocabulary a word is its pieces
    found: dict[tuple[str, int | str], float] = {}
    for place, weight in zip(places.tolist(), weights.tolist(), strict=True):
        found["row", place] = found.get(("row", place), 0.0) + weight
    pieces = len(piece_places(words[0]))
    once = weights[0] * math.sqrt(pieces) / (1 + math.log(words.count(words[0])))
    return found | {("word", word): once * (1 + math.log(words.count(word))) for word in words if word in known}


def test_a_student_is_the_ridge_regression_of_the_vectors_on_the_terms(corpus):
    few, penalty = corpus.part(np.arange(len(corpus)) < 50), 0.1
    table = fit_table(few, Settings(penalty, 1000))
    terms = DictVectorizer().fit_transform([features(text, frozenset(table.words)) for text in few.texts])
    ridge = Ridge(alpha=penalty, fit_intercept=False, solver="lsqr", tol=1e-8, max_iter=10_000)
    ridge.fit(terms, few.vectors_ND - few.vectors_ND.mean(axis=0))
    expected = normalised(np.asarray(ridge.predict(terms) + few.vectors_ND.mean(axis=0), np.float32))
    np.testing.assert_allclose(Student(table).embed(few.texts), expected, atol=0.01)


def test_a_heavier_penalty_fits_less_closely(corpus):
    cosines = [
        float((Student(fit_table(corpus, Settings(penalty, 1000))).embed(corpus.texts) * corpus.vectors_ND).sum())
        for penalty in (0.01, 1.0, 100.0)
    ]
    assert cosines == sorted(cosines, reverse=True)


def test_a_student_of_a_sum_of_words_finds_its_neighbours(corpus):
    fitting = fit_student(corpus, (1, 10))
    (at1, at10) = fitting.recalls
    assert (at1.k, at10.k) == (1, 10)
    assert at10.low <= at10.value <= at10.high
    assert at10.low > 0.5
    assert at10.similarity > 0.85


def test_of_many_texts_some_are_fitted_and_all_are_sought_among(corpus):
    whole, part = fit_student(corpus), fit_student(corpus, most=len(corpus) // 3)
    assert part.queries < whole.queries / 2
    assert len(part.student.table.words) <= len(whole.student.table.words)
    assert part.recalls[0].value < whole.recalls[0].value


def test_no_student_can_learn_vectors_that_tell_nothing():
    fitting = fit_student(corpus_of(RandomEmbedder(), tasks=60))
    assert fitting.recalls[0].high < 0.2


def test_the_full_model_has_recall_one(corpus):
    fold = folds(corpus.units_N)
    measured = recall(ProjectedEmbedder(), corpus.part(fold == 0), corpus.part(fold > 0), 10)
    assert measured.value > 0.97  # stored vectors have 16 bits an entry
    assert measured.similarity == pytest.approx(1.0, abs=0.01)


@given(st.lists(st.integers(-1, 8), min_size=1, max_size=30), st.integers(2, 6))
def test_texts_of_one_unit_are_in_one_fold_and_shared_ones_are_never_hidden(units, count):
    fold = folds(np.array(units), count)
    assert set(fold.tolist()) <= set(range(-1, count))
    assert all(len({int(one) for one, of in zip(fold, units, strict=True) if of == unit}) == 1 for unit in units)
    assert all((one == -1) == (unit == SHARED) for one, unit in zip(fold, units, strict=True))


def test_with_one_value_a_unit_the_interval_is_that_of_independent_values():
    values = np.random.default_rng(0).random(50)
    low, high = clustered_interval(values, np.arange(50))
    expected = stats.t.interval(0.95, 49, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected)


def test_copies_of_a_unit_do_not_narrow_the_interval():
    values, units = np.random.default_rng(0).random(30), np.arange(30)
    once = clustered_interval(values, units)
    assert clustered_interval(np.repeat(values, 9), np.repeat(units, 9)) == pytest.approx(once)


def test_a_single_unit_says_nothing_about_others():
    assert clustered_interval(np.array([0.5, 0.6]), np.array([3, 3])) == (0.0, 1.0)


def test_a_corpus_has_every_stored_text_with_its_vector_and_its_task(store):
    embedder, tasks = ProjectedEmbedder(), make_tasks(5)
    fill(store, embedder, tasks)
    corpus = read_corpus(store, embedder.identity)
    assert len(corpus) == store.count_vectors()
    stored = store.vectors([text_hash(text) for text in corpus.texts])
    for text, vector in zip(corpus.texts, corpus.vectors_ND, strict=True):
        np.testing.assert_array_equal(vector, stored[text_hash(text)])
    assert {unit_of(one) for one in tasks} == set(corpus.units_N.tolist()) - {SHARED}


def test_a_text_of_two_tasks_is_shared(store):
    embedder, (one, *_) = ProjectedEmbedder(), make_tasks(1)
    fill(store, embedder, [one, replace(one, task=Task("another thing", group="other"))])
    corpus = read_corpus(store, embedder.identity)
    own = {text for text, unit in zip(corpus.texts, corpus.units_N.tolist(), strict=True) if unit != SHARED}
    assert own == {one.task.text, "another thing"}


def test_of_a_large_store_whole_tasks_are_taken(store):
    embedder = ProjectedEmbedder()
    fill(store, embedder, make_tasks(40))
    whole, part = (read_corpus(store, embedder.identity, every=every) for every in (1, 4))
    assert 0 < len(part) < len(whole) / 2
    for unit in set(part.units_N.tolist()) - {SHARED}:
        assert (part.units_N == unit).sum() == (whole.units_N == unit).sum()
