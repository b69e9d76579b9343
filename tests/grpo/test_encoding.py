"""What a policy sees of a situation."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tiny_policies import WORDS, embedder, random_situations, seeing

from grpo.encoding import STANDINGS, TOOL_ROWS, Encoder, Offer, TextTable, decision_at, standings, tool_row
from trajstore.experience import play_back
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step, Task, Trajectory


def trajectory(*tools: str, **changes) -> Trajectory:
    return Trajectory(Task("press"), tuple(Step(at, tool, **changes) for at, tool in enumerate(tools)))


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join), max_size=20))
def test_a_text_keeps_its_row_and_its_vector(texts):
    table, plain = TextTable(embedder()), embedder()
    first = table.rows(texts)
    table.rows([f"door number {number}" for number in range(300)])
    assert (table.rows(texts) == first).all()
    expected = plain.embed(texts) if texts else np.zeros((0, len(WORDS)))
    assert np.allclose(table.vectors[first], expected)


def test_a_text_is_embedded_once():
    words = embedder()
    table = TextTable(words)
    table.rows(["red", "blue", "red"])
    table.rows(["blue", "green"])
    assert words.texts == ["red", "blue", "green"]


def test_the_empty_text_is_the_zero_vector():
    table = TextTable(embedder())
    assert table.rows([""]).tolist() == [0]
    assert not table.vectors[0].any()


def test_a_table_of_live_texts_does_not_grow_for_ever():
    encoder = Encoder(embedder(), most_texts=10)
    for number in range(100):
        encoder.encode(seeing(f"lamp {number}", "press_red"))
    assert len(encoder.table) <= 10 + 4


def test_a_table_for_training_keeps_every_text():
    encoder = Encoder(embedder(), most_texts=None)
    encoded = [encoder.encode(seeing(f"{word} lamp", "press_red")) for word in WORDS]
    again = [encoder.encode(seeing(f"{word} lamp", "press_red")) for word in WORDS]
    assert [one.state for one in again] == [one.state for one in encoded]


def test_tools_have_the_same_row_in_every_process():
    script = "from grpo.encoding import tool_row; print([tool_row(name) for name in ('look', 'press_red', '')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    rows = [tool_row(name) for name in ("look", "press_red", "")]
    assert done.stdout.strip() == str(rows)
    assert all(0 <= row < TOOL_ROWS for row in rows)


def test_standings_know_what_was_called_and_what_failed():
    past = [PastStep("look"), PastStep("press", failed=True)]
    standing = dict(zip(STANDINGS, standings(seeing("", "press", "look", "open", history=past)).T, strict=True))
    assert standing["its tool was called last"].tolist() == [1, 0, 0]
    assert standing["its tool was called last and failed"].tolist() == [1, 0, 0]
    assert np.allclose(standing["times its tool was called (log)"], [np.log(2), np.log(2), 0])


def test_an_encoding_holds_one_row_for_each_candidate():
    encoder = Encoder(embedder(), most_texts=None)
    for situation in random_situations(30):
        encoded = encoder.encode(situation)
        assert len(encoded.candidates_K) == len(encoded.tools_K) == len(situation.candidates)
        assert encoded.standings_KF.shape == (len(situation.candidates), len(STANDINGS))
        assert np.isfinite(encoded.standings_KF).all()


def test_what_a_tool_says_about_itself_is_part_of_its_text():
    words = embedder()
    Encoder(words, {"press_red": "open the door"}).encode(seeing("lamp", "press_red"))
    assert "press_red open the door" in words.texts


@given(st.integers(2, 30), st.integers(2, 40), st.integers(0, 29))
def test_of_many_tools_so_many_are_offered_and_the_chosen_one_always(most, count, chosen):
    tools = tuple(Candidate(f"tool {number}") for number in range(count))
    name = f"tool {chosen % count}"
    offered = Offer(tools, most, np.random.default_rng(0)).with_chosen(name)
    assert Candidate(name) in offered
    assert len(offered) == len(set(map(repr, offered))) <= most


def test_a_step_without_an_alternative_is_no_decision():
    encoder, offer = Encoder(embedder(), most_texts=None), Offer((Candidate("press_red"),))
    assert decision_at(play_back(trajectory("press_red")), 0, encoder, offer) is None


def test_a_tool_that_was_not_offered_is_no_decision():
    offered = (Candidate("press_red"), Candidate("press_blue"))
    found = decision_at(play_back(trajectory("open", candidates=offered)), 0, Encoder(embedder()), Offer())
    assert found is None


def test_a_message_is_no_decision():
    offer = Offer((Candidate("a"), Candidate("b")))
    assert decision_at(play_back(trajectory("a", kind="message")), 0, Encoder(embedder()), offer) is None


def test_a_decision_knows_its_place_and_its_propensity():
    offered = (Candidate("press_red"), Candidate("press_blue"))
    one = trajectory("press_blue", candidates=offered, propensity=0.25)
    found = decision_at(play_back(one), 0, Encoder(embedder()), Offer())
    assert found is not None
    assert (found.chosen, found.propensity) == (1, 0.25)
