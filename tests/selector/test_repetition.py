"""How often an action was already done where the agent stands now."""

import numpy as np
import pytest

from selector.repetition import likeness_of_states, tries_here
from selector.situation import Situation
from trajstore.embedding import HashedEmbedder
from trajstore.render import PastStep
from trajstore.schema import Candidate

OPEN, LOOK = Candidate("Open", {"object": "Door"}), Candidate("look")


def embed(text: str) -> np.ndarray:
    return HashedEmbedder(256).embed([text])[0]


def tries(*states: str, now: str = "a dark hall") -> list[float]:
    history = tuple(PastStep("Open", "door", state=state) for state in states)
    situation = Situation("t", now, history, (OPEN, LOOK))
    return tries_here(situation, likeness_of_states(situation, embed)).tolist()


def test_what_was_done_in_this_state_counts_each_time():
    assert tries("a dark hall", "a dark hall") == pytest.approx([2.0, 0.0], abs=1e-4)


def test_what_was_done_elsewhere_does_not_count():
    assert tries("the bright attic") == [0.0, 0.0]


def test_at_the_start_nothing_was_tried():
    assert tries() == [0.0, 0.0]


def test_a_state_nearly_the_same_counts_in_part():
    long = " ".join(f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
    assert 0.0 < tries(f"{long} shut", now=f"{long} open")[0] < 1.0
