"""A student's table: what its vectors are made of, and that it is read back only whole."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajstore.errors import DamagedStore
from trajstore.identity import EmbedderIdentity
from trajstore.student import (
    MOST_WORDS,
    PAIR_WEIGHT,
    PAIRS,
    PIECES,
    Student,
    StudentTable,
    from_bytes,
    piece_places,
    quantised,
    to_bytes,
    weighted_rows,
    words_of,
)

WORDS = ("cancel", "book", "flight", "42", "the")
DIMENSION = 6
sentences = st.lists(st.sampled_from([*WORDS, "refund", "seat"]), max_size=12).map(" ".join)


def make_table(reach: int = 100) -> StudentTable:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(len(WORDS) + PIECES + PAIRS, DIMENSION)).astype(np.float32)
    mean = rng.normal(size=DIMENSION).astype(np.float32)
    return StudentTable(EmbedderIdentity("full", DIMENSION, "full-6"), WORDS, *quantised(rows), mean, reach)


STUDENT = Student(make_table())


def by_formula(text: str) -> list[float]:
    """The vector of a text term by term, from the table's numbers."""
    table, words = STUDENT.table, text.split()
    rows = table.rows_RD * table.scales_R[:, None]
    damped = {(word,): 1 + math.log(n) for word, n in Counter(words).items()}
    places: Counter[int] = Counter()
    for pair in pairwise(words):
        at, _ = weighted_rows(pair, {word: number for number, word in enumerate(WORDS)})
        places[int(at[-1])] += 1
    pairs = {place: PAIR_WEIGHT * (1 + math.log(n)) for place, n in places.items()}
    length = math.sqrt(sum(weight**2 for weight in [*damped.values(), *pairs.values()]))
    total = table.mean_D.astype(np.float64)
    for (word,), weight in damped.items():
        if word in WORDS:
            total = total + weight / length * rows[WORDS.index(word)]
        else:
            pieces = [len(WORDS) + place for place in piece_places(word)]
            total = total + weight / length / math.sqrt(len(pieces)) * rows[pieces].sum(axis=0)
    for place, weight in pairs.items():
        total = total + weight / length * rows[place]
    return list(total / np.linalg.norm(total))


@given(sentences.filter(bool))
def test_a_vector_is_the_mean_and_the_weighted_rows_of_its_terms(text):
    assert STUDENT.embed([text])[0].tolist() == pytest.approx(by_formula(text), abs=1e-5)


@given(st.lists(st.text(max_size=60), max_size=5))
def test_a_students_vector_has_length_one_or_zero(texts):
    vectors = STUDENT.embed(texts)
    lengths = np.linalg.norm(vectors, axis=1)
    assert (vectors.shape, vectors.dtype) == ((len(texts), DIMENSION), np.float32)
    assert np.minimum(abs(lengths), abs(lengths - 1)).max(initial=0.0) < 1e-5


@given(st.lists(sentences, min_size=1, max_size=4))
def test_a_students_vector_does_not_depend_on_the_texts_beside_it(texts):
    together = STUDENT.embed(texts)
    assert all(np.array_equal(vector, STUDENT.embed([text])[0]) for vector, text in zip(together, texts, strict=True))


def test_a_text_without_letters_and_digits_has_the_zero_vector():
    assert not STUDENT.embed(["", " \n", "…!?"]).any()


def test_words_beyond_the_reach_do_not_count():
    near = Student(make_table(reach=3))
    one, other, third = near.embed(["cancel the flight", "cancel the flight book 42", "cancel the seat"])
    assert np.array_equal(one, other)
    assert not np.array_equal(one, third)


def test_a_word_is_cut_and_letters_part_from_digits():
    assert words_of("HAT123 " + "x" * 1000, 10) == ["hat", "123", "x" * 40]


@given(st.text(max_size=30))
def test_an_unknown_word_has_pieces_inside_the_table(word):
    assert piece_places(word)
    assert all(0 <= place < PIECES for place in piece_places(word))


def test_like_words_share_pieces():
    assert set(piece_places("flights")) & set(piece_places("flight"))


@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_row_in_eight_bits_is_within_half_a_scale_of_itself(rows):
    exact = np.array(rows, np.float32)
    whole, scales = quantised(exact)
    assert (abs(whole * scales[:, None] - exact) <= 0.5001 * scales[:, None] + 1e-6).all()


def test_a_table_comes_back_equal():
    table = make_table()
    again = from_bytes(to_bytes(table))
    assert (again.identity, again.words, again.reach) == (table.identity, table.words, table.reach)
    for name in ("rows_RD", "scales_R", "mean_D"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))


@given(st.integers(0, 4000))
def test_a_table_that_was_cut_short_is_refused(kept):
    with pytest.raises(DamagedStore, match="it is fitted anew"):
        from_bytes(to_bytes(make_table())[:kept])


def test_a_table_of_another_layout_is_refused():
    table = make_table()
    odd = StudentTable(table.identity, table.words[:-1], table.rows_RD, table.scales_R, table.mean_D, table.reach)
    with pytest.raises(DamagedStore, match="another layout"):
        from_bytes(to_bytes(odd))


def test_a_full_table_of_384_entries_takes_about_eleven_megabytes():
    assert (MOST_WORDS + PIECES + PAIRS) * (384 + 4) < 11.2e6
