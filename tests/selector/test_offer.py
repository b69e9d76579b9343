"""What is read off candidates alone, and remembered of the very same ones."""

from hypothesis import given
from hypothesis import strategies as st
from tiny_logs import WordEmbedder, experience_of, log

from selector.offer import MOST_OFFERS, offer_of
from selector.situation import Situation, number_candidates
from trajstore.schema import Candidate

TOOLS = ("a", "b", "c", "d")


def test_equal_candidates_that_are_other_ones_have_an_offer_of_their_own():
    first, second = ((Candidate("open", {"object": "door"}),) for _ in range(2))
    assert first == second
    assert offer_of(first) is offer_of(first)
    assert offer_of(first) is not offer_of(second)
    assert offer_of(first).actions == offer_of(second).actions


def test_no_offer_is_taken_for_another_however_many_there_were():
    many = [(Candidate(f"tool {number}"),) for number in range(3 * MOST_OFFERS)]
    for _ in range(2):
        for number, candidates in enumerate(many):
            assert offer_of(candidates).actions == (f"tool {number}",)


def test_a_situation_reads_its_own_candidates():
    first, second = (Situation("t", "", (), (Candidate(tool),)) for tool in ("Open", "Look"))
    assert (first.actions, second.actions) == (("open",), ("look",))


@given(st.lists(st.sampled_from((*TOOLS, "x")), max_size=8))
def test_each_known_tool_leads_to_its_first_candidate(offered):
    experience = experience_of([log(*(("s", tool) for tool in TOOLS))], WordEmbedder("s"))
    numbered = number_candidates(offer_of(tuple(map(Candidate, offered))), experience)
    assert numbered.first.tolist() == [offered.index(tool) if tool in offered else -1 for tool in TOOLS]
