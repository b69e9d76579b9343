"""What is a clock, what is none, and what is left of a text without it."""

from hypothesis import given
from hypothesis import strategies as st

from selector.clocks import without_clocks

words = st.text(alphabet="abc xyz", max_size=12)
moments = st.lists(st.tuples(words, st.integers(0, 10**17)), min_size=3, max_size=8, unique_by=lambda one: one[1])


@given(moments.map(lambda found: sorted(found, key=lambda one: one[1])))
def test_texts_that_differ_by_a_clock_alone_are_equal_without_it(seen: list[tuple[str, int]]):
    assert without_clocks([f"{text} at {time}" for text, time in seen]) == tuple(f"{text} at #" for text, _ in seen)
    assert without_clocks([f"[{time}] {text}" for text, time in seen]) == tuple(f"[#] {text}" for text, _ in seen)


def test_digits_without_end_are_read():
    assert "#" in without_clocks([digit * 9000 for digit in "123"])[0]


@given(st.lists(st.text(max_size=20), max_size=6))
def test_what_is_masked_are_digits_alone(texts: list[str]):
    for text, left in zip(texts, without_clocks(texts), strict=True):
        assert [one for one in left if not one.isdigit() and one not in "#-:./T"] == [
            one for one in text if not one.isdigit() and one not in "#-:./T"
        ]


def test_a_number_that_stays_or_falls_once_or_is_missing_once_is_no_clock():
    for texts in (["3 jobs", "4 jobs", "4 jobs"], ["move 1", "move 3", "move 2"], ["at 1", "at 2", "nothing", "at 4"]):
        assert without_clocks(texts) == tuple(texts)


def test_two_texts_show_no_clock():
    assert without_clocks(["at 1", "at 2"]) == ("at 1", "at 2")


def test_a_time_of_day_is_one_number():
    assert (
        without_clocks(["2026-01-31T23:59:59 up", "2026-02-01T00:00:00 up", "2026-02-01T00:00:01 up"]) == ("# up",) * 3
    )


def test_what_is_beside_the_clock_stays():
    texts = ["2 coins, score 0/1", "5 coins, score 0/3", "2 coins, score 1/4"]
    assert without_clocks(texts) == ("2 coins, score #", "5 coins, score #", "2 coins, score #")
