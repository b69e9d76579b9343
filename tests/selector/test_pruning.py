"""What is left out of a decision, and why."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_worlds import COLOURS, assess, at, attempt, coloured_presses, learned_from

from selector.learning import Learned
from selector.live import NoFeedback
from selector.loops import LoopConfig, find_loop, loop_reasons
from selector.pruning import failing_here, prune, pruned_candidates, quarantined
from selector.records import PrunedCandidate, SelectorConfig
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate

OPEN, LOOK = Candidate("open", {"object": "door"}, "open door"), Candidate("look")
LOCKED = PastStep("open", "door", "The door is locked.", state="hall")


def among(*candidates: Candidate, history: tuple[PastStep, ...] = (), state: str = "hall") -> Situation:
    return Situation("get out", state, history, candidates)


def fails_in_red(times: int) -> Learned:
    """In red `good` always succeeds and `bad` never; blue and green are the background."""
    won = [attempt(("red", "good"), trajectory_id=f"w{n}") for n in range(times)]
    lost = [attempt(("red", "bad"), success=False, trajectory_id=f"l{n}") for n in range(times)]
    return learned_from([*won, *lost, *coloured_presses(times)])


def test_a_tool_that_fails_here_is_pruned_with_its_reason():
    learned, situation = fails_in_red(20), at("red", "good", "bad", "press_red")
    reasons = failing_here(assess(learned, situation), SelectorConfig())
    assert list(reasons) == [1]
    assert reasons[1].startswith("fails here: success at most 0.")
    assert "while good has at least 0." in reasons[1]


def test_a_tool_that_fails_elsewhere_is_kept():
    learned, situation = fails_in_red(20), at("the lamp is blue", "press_blue", "bad")
    assert failing_here(assess(learned, situation), SelectorConfig()) == {}


def test_failing_here_needs_evidence():
    learned, situation = fails_in_red(3), at("red", "good", "bad")
    assert failing_here(assess(learned, situation), SelectorConfig()) == {}
    many = fails_in_red(20)
    patient = SelectorConfig(prune_evidence=1000.0)
    assert failing_here(assess(many, situation), patient) == {}


def test_a_smaller_share_prunes_less():
    learned, situation = fails_in_red(20), at("red", "good", "bad")
    assert failing_here(assess(learned, situation), SelectorConfig(prune_share=0.0)) == {}


def test_a_lone_tool_that_always_failed_is_kept():
    learned = learned_from([attempt(("red", "bad"), success=False)] * 20 + coloured_presses(5))
    situation = at("red", "bad")
    assert prune(situation, assess(learned, situation), SelectorConfig()) == {}


LEARNED = fails_in_red(8)
calls = st.builds(
    PastStep,
    st.sampled_from(["open", "look", "good", "bad"]),
    st.sampled_from(["", "door"]),
    st.sampled_from(["", "locked"]),
    state=st.just("red"),
)
offers = st.sampled_from([OPEN, LOOK, Candidate("good"), Candidate("bad"), Candidate("never seen")])


@settings(max_examples=60)
@given(st.lists(offers, min_size=1, max_size=4), st.lists(calls, max_size=4))
def test_at_least_one_candidate_always_stays(offered, history):
    situation = Situation("t", "red", tuple(history), tuple(offered))
    reasons = prune(situation, assess(LEARNED, situation), SelectorConfig())
    assert set(reasons) < set(range(len(offered)))
    assert all(reason.startswith(("loop: ", "fails here: ")) for reason in reasons.values())


class Quarantine(NoFeedback):
    """One tool is pruned in every state."""

    def pruned(self, cluster: int, tools: Sequence[str]) -> dict[str, str]:
        return {tool: "fails in such states" for tool in tools if tool == "good"}


def test_what_is_quarantined_is_left_out_with_its_reason():
    situation = at("red", "good", "bad", "press_red")
    assessment = assess(LEARNED, situation)
    assert quarantined(assessment, Quarantine()) == {0: "fails in such states"}
    assert 0 in prune(situation, assessment, SelectorConfig(), feedback=Quarantine())
    assert quarantined(assessment, NoFeedback()) == {}


def test_where_everything_would_be_pruned_nothing_is():
    situation = among(OPEN, history=(LOCKED, LOCKED))
    loop = find_loop(situation.history, LoopConfig())
    assert loop_reasons(situation, LoopConfig(), loop)
    assert prune(situation, assess(LEARNED, situation), SelectorConfig(), loop=loop) == {}


def test_pruned_candidates_come_with_their_reasons_in_the_order_offered():
    situation = at("", *COLOURS)
    found = pruned_candidates(situation, {2: "too green", 0: "too red"})
    assert found == (PrunedCandidate(Candidate("red"), "too red"), PrunedCandidate(Candidate("green"), "too green"))
