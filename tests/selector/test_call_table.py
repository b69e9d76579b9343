"""How alike calls are, against words compared one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector import call_table
from selector.call_table import NAMED, NUMBERED, CallTable

TOOLS = st.sampled_from(["take", "go to", "wait"])
WORDS = st.lists(st.sampled_from(["red", "green", "cup", "2"]), max_size=3)
CALLS = st.builds(lambda tool, words: (tool, " ".join([tool, *words])), TOOLS, WORDS)


def weights_of(call: tuple[str, str], task: str) -> dict[str, float]:
    words = call[1].removeprefix(call[0]).split()
    told = {f"{words[at - 1]}#{word}" if word == "2" and at else word for at, word in enumerate(words)} or {""}
    return {word: NAMED if word in task.split() else NUMBERED if "#" in word else 1.0 for word in told}


def cosine(call: tuple[str, str], other: tuple[str, str], task: str) -> float:
    mine, theirs = weights_of(call, task), weights_of(other, task)
    lengths = (np.sqrt(sum(weight**2 for weight in one.values())) for one in (mine, theirs))
    return sum(mine[word] * theirs[word] for word in mine.keys() & theirs) / np.prod([*lengths])


@given(
    st.lists(st.tuples(st.lists(CALLS, max_size=4), st.lists(CALLS, max_size=4)), min_size=1, max_size=4),
    st.sampled_from(["", "a red cup", "2 cups"]),
)
def test_calls_are_as_alike_as_their_words_in_whatever_order_they_come(asked, task):
    table = CallTable(task)
    for rows, columns in asked:
        row_numbers, column_numbers = table.rows(rows), table.columns(columns)
        alike, same = table.alike(row_numbers, column_numbers), table.is_same_tool(row_numbers, column_numbers)
        assert alike.shape == same.shape == (len(rows), len(columns))
        for at, row in enumerate(rows):
            for to, column in enumerate(columns):
                assert alike[at, to] == pytest.approx(cosine(row, column, task), abs=1e-6)
                assert same[at, to] == (row[0] == column[0])


def test_a_table_that_is_full_begins_anew_and_answers_the_same(monkeypatch):
    monkeypatch.setattr(call_table, "MOST_ROWS", 3)
    table = CallTable()
    (cup,) = table.columns([("take", "take cup")])
    for number in range(10):
        rows = table.rows([("take", "take cup"), ("take", f"take cup {number}")])
        assert table.alike(rows, np.array([cup]))[:, 0] == pytest.approx([1.0, 0.8**0.5])


def test_more_rows_than_fit_at_once_are_answered_too(monkeypatch):
    monkeypatch.setattr(call_table, "MOST_ROWS", 3)
    table = CallTable()
    columns = table.columns([("take", "take cup")])
    rows = table.rows([("take", f"take cup {number}") for number in range(8)])
    assert table.alike(rows, columns)[:, 0] == pytest.approx([0.8**0.5] * 8)


def test_what_the_task_names_makes_calls_alike_and_the_number_of_a_thing_hardly_tells_them_apart():
    table = CallTable("put a mug on the shelf")
    calls = [("take", "take mug 1 desk 2"), ("take", "take pen 1 drawer 3"), ("take", "take mug 2 drawer 3")]
    alike = table.alike(table.rows(calls), table.columns([("take", "take mug 2 drawer 3")]))[:, 0]
    assert alike[0] > alike[1]
    assert alike[2] == pytest.approx(1.0)


def test_words_in_sight_are_those_that_the_text_has():
    table = CallTable()
    table.columns([("take", "take red cup"), ("wait", "wait"), ("take", "take jar")])
    assert table.shares_in("a cup and a jar").tolist() == pytest.approx([0.5, 1.0, 1.0])
    assert table.shares_in("").tolist() == pytest.approx([0.0, 1.0, 0.0])
