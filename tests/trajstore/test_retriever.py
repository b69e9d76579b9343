"""Retrieval by goal, state and order: parity with the formulas written out, and its laws."""

import functools
import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfTransformer
from tiny_logs import WordEmbedder, experience_of, log

from trajstore.allowed import Allowed, all_but
from trajstore.embedding import HashedEmbedder, normalised
from trajstore.experience import Experience
from trajstore.layers import TAIL_ROWS
from trajstore.nearness import rarity
from trajstore.order import step_token
from trajstore.retriever import (
    Evidence,
    Keys,
    Query,
    Retriever,
    RetrieverConfig,
    cap_by_group,
)
from trajstore.schema import Task, Trajectory
from trajstore.suffixes import SUFFIX_SIMILARITY

WORDS = ("red", "green", "blue", "north", "south", "login", "pay", "seat")
TOOLS = ("search", "book", "pay")
GROUPS = 40
weights = st.floats(0.0, 1.0)


@functools.cache
def many_logs() -> tuple[Trajectory, ...]:
    rng = np.random.default_rng(3)

    def phrase() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(1, 4)))

    return tuple(
        log(
            *((phrase(), str(rng.choice(TOOLS))) for _ in range(rng.integers(1, 7))),
            task=phrase(),
            success=bool(rng.random() < 0.7),
            trajectory_id=f"t{number}",
        )
        for number in range(GROUPS)
    )


@functools.cache
def many() -> Experience:
    return experience_of(many_logs(), HashedEmbedder(32))


def ask(
    retriever: Retriever,
    experience: Experience,
    *,
    task: str = "red seat",
    state: str = "blue north",
    tokens: tuple[int, ...] = (),
    allowed: Allowed | None = None,
) -> tuple[Query, Evidence]:
    goals = retriever.goal_similarities(experience.embed(task))
    texts = experience.embed(state), experience.embed(state)
    query = retriever.query(texts, goals, tokens, allowed=allowed)
    return query, retriever.evidence(query)


def similarity_by_row(evidence: Evidence) -> dict[int, float]:
    return dict(zip(evidence.rows.tolist(), evidence.similarities.tolist(), strict=True))


def everything(**changes: float) -> RetrieverConfig:
    return RetrieverConfig(keys=Keys(**changes), nearest=10_000, pool=10_000, same_order=10_000)


@settings(max_examples=60)
@given(
    st.sets(st.integers(0, GROUPS - 1)), st.integers(1, 12), st.integers(1, 6), st.lists(st.integers(0, 5), max_size=4)
)
def test_trajectories_that_are_left_out_never_come_back(left_out, pool, nearest, tokens):
    retriever = Retriever(many(), RetrieverConfig(pool=pool, nearest=nearest, same_order=pool))
    allowed = all_but(left_out, many().trajectory_column("end"))
    _, evidence = ask(retriever, many(), tokens=tuple(tokens), allowed=allowed)
    owners = set(many().column("trajectory")[evidence.rows].tolist())
    assert not owners & left_out
    assert len(evidence.rows) >= min(pool, nearest, allowed.count)


@settings(max_examples=60)
@given(st.floats(0.05, 3.0), st.integers(1, 50), st.lists(st.integers(0, 5), max_size=4))
def test_no_trajectory_weighs_more_than_the_cap(cap, nearest, tokens):
    retriever = Retriever(many(), RetrieverConfig(nearest=nearest, trajectory_cap=cap))
    _, evidence = ask(retriever, many(), tokens=tuple(tokens))
    owners = many().column("trajectory")[evidence.rows]
    for values in (evidence.weights, evidence.content_weights, evidence.moment_weights):
        assert np.bincount(owners, values).max() <= cap * (1 + 1e-5)
        assert ((values >= 0) & (values <= 1)).all()


@given(st.lists(st.tuples(weights, st.integers(0, 4)), max_size=20), st.floats(0.1, 3.0))
def test_capping_leaves_groups_below_the_cap_as_they_are(pairs, cap):
    values, groups = np.array([value for value, _ in pairs]), np.array([group for _, group in pairs], np.int64)
    capped, totals = cap_by_group(values[None], groups, cap)[0], defaultdict(float)
    for value, group in pairs:
        totals[group] += value
    expected = [value * min(1.0, cap / totals[group]) if totals[group] else 0.0 for value, group in pairs]
    assert capped == pytest.approx(expected, abs=1e-6)


def cosine(first: np.ndarray, second: np.ndarray, entries: np.ndarray) -> float:
    one, other = first.astype(float) * entries, second.astype(float) * entries
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / lengths) if lengths else 0.0


@pytest.mark.parametrize("tokens", [(), (step_token(0, failed=False),), (0, 2, 4, 0), (1, 3)])
def test_a_similarity_is_the_weighted_sum_of_its_three_keys(tokens):
    experience, keys = many(), {"goal": 0.2, "state": 0.5, "order": 0.3}
    _, evidence = ask(Retriever(experience, everything(**keys)), experience, tokens=tokens)
    entries, expected = rarity(experience.states), {}
    for row in range(len(experience)):
        owner = many_logs()[experience.column("trajectory")[row]]
        position = experience.column("position")[row]
        before = [step_token(many().tools.known(step.tool), failed=False) for step in owner.steps[:position]]
        agree = next(
            (length for length in (3, 2, 1) if ([-1] * 3 + before)[-length:] == ([-1] * 3 + list(tokens))[-length:]), 0
        )
        goal = cosine(experience.embed(owner.task.text), experience.embed("red seat"), entries)
        state = cosine(experience.states[row], experience.embed("blue north"), entries)
        expected[row] = keys["goal"] * goal + keys["state"] * state + keys["order"] * float(SUFFIX_SIMILARITY[agree])
    assert similarity_by_row(evidence) == pytest.approx(expected, abs=2e-3)
    assert (np.diff(evidence.similarities) <= 0).all()


def test_weights_are_those_of_the_kernel_over_the_background():
    config = everything()
    _, evidence = ask(Retriever(many(), config), many())
    assert len(evidence.rows) == len(many()) <= 256  # the background is all rows
    base = float(np.median(evidence.similarities))
    top = max(float(evidence.similarities.max()), base + config.floor)
    kernel = [max(0.0, (value - base) / (top - base)) ** config.power for value in evidence.similarities.tolist()]
    owners = many().column("trajectory")[evidence.rows].tolist()
    totals = defaultdict(float)
    for owner, value in zip(owners, kernel, strict=True):
        totals[owner] += value
    expected = [value / max(1.0, totals[owner]) for owner, value in zip(owners, kernel, strict=True)]
    assert evidence.weights == pytest.approx(expected, abs=2e-3)  # the index rounds to 16 bits, the background not


@pytest.mark.parametrize(
    ("key", "changed"),
    [("goal", {"task": "green login"}), ("state", {"state": "pay south"}), ("order", {"tokens": (0, 2)})],
)
def test_a_key_changes_similarities_and_changes_nothing_where_it_is_off(key, changed):
    on = Retriever(many(), everything())
    off = Retriever(many(), everything(**{key: 0.0}))
    assert similarity_by_row(ask(on, many())[1]) != similarity_by_row(ask(on, many(), **changed)[1])
    assert similarity_by_row(ask(off, many())[1]) == similarity_by_row(ask(off, many(), **changed)[1])


@given(weights, weights, weights)
def test_scaled_keys_sum_to_one_and_keep_their_shares(goal, state, order):
    keys, total = Keys(goal, state, order).scaled(), goal + state + order
    assert keys.goal + keys.state + keys.order == pytest.approx(1.0 if total else 0.0)
    assert keys.goal * total == pytest.approx(goal, abs=1e-9)


def test_examples_and_failures_are_brought_up_apart():
    won = [log(("red", "search"), task="red", trajectory_id=f"w{n}") for n in range(30)]
    lost = [log(("red", "book"), task="blue", success=False, trajectory_id=f"l{n}") for n in range(3)]
    experience = experience_of([*won, *lost], WordEmbedder("red", "blue"))
    _, evidence = ask(Retriever(experience, RetrieverConfig(nearest=5)), experience, task="red", state="red")
    found = [experience.describe(row)[3] for row in evidence.rows.tolist()]
    assert found.count(False) == 3
    assert found.count(True) >= 5


def test_rows_that_came_after_the_index_are_found():
    embedder = WordEmbedder("red", "blue", "green")
    experience = experience_of([log(("red", "search"), task="red")], embedder)
    retriever = Retriever(experience)
    experience.extend([log(("blue", "book"), ("blue", "pay"), task="green")])
    retriever.refresh()
    assert len(retriever.index) == 1
    _, evidence = ask(retriever, experience, task="green", state="blue", tokens=())
    assert experience.describe(int(evidence.rows[0]))[2] == "book"
    assert sorted(evidence.rows.tolist()) == [0, 1, 2]


def test_rows_that_came_later_weigh_what_they_would_have_weighed_at_first():
    logs = [log((word, tool), task=word) for word, tool in zip(WORDS, TOOLS * 3, strict=False)]
    dense = WordEmbedder("red")  # one entry, never zero: rarity is the same for both
    logs = [replace(one, task=Task("red")) for one in logs]
    late, early = experience_of(logs[:4], dense), experience_of(logs, dense)
    retriever = Retriever(late, everything())
    late.extend(logs[4:])
    retriever.refresh()
    grown, whole = ask(retriever, late, state="red")[1], ask(Retriever(early, everything()), early, state="red")[1]
    assert similarity_by_row(grown) == pytest.approx(similarity_by_row(whole))


def test_an_experience_that_grew_from_nothing_is_indexed():
    experience = experience_of([], WordEmbedder("red", "blue"))
    retriever = Retriever(experience)
    assert ask(retriever, experience)[1].rows.tolist() == []
    experience.extend([log(("red", "search"))])
    retriever.refresh()
    assert ask(retriever, experience, state="red")[1].rows.tolist() == [0]


def test_many_new_rows_rebuild_the_index():
    experience = experience_of([log(("red", "search"))], WordEmbedder("red", "blue"))
    retriever = Retriever(experience)
    experience.extend([log(*[("blue", "book")] * 100) for _ in range(TAIL_ROWS // 100 + 1)])
    retriever.refresh()
    assert len(retriever.index) == len(experience) > TAIL_ROWS


def test_a_trajectory_without_tool_calls_adds_a_task_and_no_row():
    experience = experience_of([log(("red", "search"), task="red")], WordEmbedder("red", "blue"))
    retriever = Retriever(experience)
    experience.extend([log(task="blue")])
    retriever.refresh()
    assert retriever.goal_similarities(experience.embed("blue")).tolist() == [0.0, 1.0]
    assert ask(retriever, experience, state="red")[1].rows.tolist() == [0]


def test_an_index_given_is_taken_only_where_it_fits():
    built = Retriever(many()).index
    assert Retriever(many(), index=built).index is built
    other = experience_of(many_logs()[:3], HashedEmbedder(32))
    assert Retriever(other, index=built).index is not built


def test_key_similarities_add_up_to_the_joint_one():
    config = everything(goal=0.2, state=0.5, order=0.3)
    retriever = Retriever(many(), config)
    query, evidence = ask(retriever, many(), tokens=(0,))
    by_key = retriever.key_similarities(evidence.rows, query)
    assert by_key @ np.array([0.2, 0.5, 0.3]) == pytest.approx(
        evidence.similarities, abs=5e-4
    )  # the index rounds to 16 bits


@given(st.integers(0, 30), st.integers(1, 10), st.integers(0, 2**31))
def test_rarity_is_the_smoothed_inverse_document_frequency_of_scikit_learn(rows, entries, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 2, (rows, entries)) * rng.random((rows, entries))
    if rows:
        expected = TfidfTransformer(smooth_idf=True).fit(counts).idf_
        assert rarity(counts) == pytest.approx(expected, rel=1e-5)
    assert rarity(counts).shape == (entries,)


def test_rarity_changes_nothing_in_dense_vectors():
    vectors = normalised(np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32))
    assert rarity(vectors).tolist() == [1.0] * 8


def test_a_rare_word_weighs_more_than_a_common_one():
    logs = [log((f"red {word}", "search"), task="t") for word in ("blue", "green", "north", "south")]
    experience = experience_of(logs, WordEmbedder(*WORDS))
    found = similarity_by_row(ask(Retriever(experience, everything(goal=0, order=0)), experience, state="red blue")[1])
    entries = [math.log(5 / (1 + count)) + 1 for count in (4, 1)]
    shared = entries[0] ** 2 / sum(entry**2 for entry in entries)
    assert found == pytest.approx({0: 1.0, 1: shared, 2: shared, 3: shared}, abs=2e-3)
