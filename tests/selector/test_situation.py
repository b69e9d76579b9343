"""One decision as the engine sees it, live or played back."""

from hypothesis import given
from hypothesis import strategies as st
from tiny_logs import WordEmbedder, experience_of, log
from tiny_worlds import at

from selector.offer import offer_of
from selector.situation import Situation, number_candidates, situation_at
from trajstore.experience import past_step, play_back
from trajstore.schema import Candidate, Step, Task, Trajectory

texts = st.sampled_from(["", "red", "a blue door", " x ", "y" * 3000])
steps = st.lists(st.tuples(st.sampled_from(["open", "Close"]), texts, texts), min_size=1, max_size=5)


@given(steps, texts)
def test_a_live_decision_reads_as_the_same_decision_does_when_it_is_stored(calls, task):
    made = tuple(
        Step(index=place, tool=tool, state=state, observation=seen, args={"name": seen})
        for place, (tool, state, seen) in enumerate(calls)
    )
    playback = play_back(Trajectory(task=Task(task), steps=made))
    for place, step in enumerate(made):
        live = Situation(task, step.state, tuple(map(past_step, made[:place])), (Candidate("open"),))
        assert live.state_text == playback.state_text(place)
        assert live.moment_text == playback.moment_text(place)
        assert situation_at(playback, place, live.candidates) == live


def test_the_candidates_that_were_logged_are_offered_again_and_the_known_tools_where_none_were():
    logged = Candidate("go", {"where": "cellar"})
    playback = play_back(
        Trajectory(task=Task("t"), steps=(Step(index=0, tool="go", candidates=(logged,)), Step(index=1, tool="go")))
    )
    assert situation_at(playback, 0, [Candidate("stay")]).candidates == (logged,)
    assert situation_at(playback, 1, [Candidate("stay")]).candidates == (Candidate("stay"),)


def test_bare_tools_are_their_own_actions():
    assert at("", "Search", "book").actions == ("search", "book")
    assert not at("", "Search").is_grounded


def test_candidates_are_numbered_by_tool_and_by_action():
    steps = (Step(index=0, tool="Take", args={"object": "Coin"}), Step(index=1, tool="look"))
    experience = experience_of([Trajectory(task=Task("t"), steps=steps)], WordEmbedder("t"))
    offered = (
        Candidate("look"),
        Candidate("Take", {"object": "coin"}),
        Candidate("Take", {"object": "lamp"}),
        Candidate("fly"),
    )
    numbered = number_candidates(offer_of(offered), experience)
    assert numbered.tool_names == ("look", "Take", "fly")
    assert numbered.tools.tolist() == [1, 0, -1]
    assert numbered.tool_of.tolist() == [0, 1, 1, 2]
    assert numbered.siblings.tolist() == [1, 2, 2, 1]
    assert numbered.actions.tolist() == [1, 0, -1, -1]


def test_numbering_candidates_teaches_the_experience_nothing():
    experience = experience_of([log(("", "search"))], WordEmbedder("t"))
    number_candidates(at("", "never seen").offer, experience)
    assert experience.tools.names == ("search",)
    assert experience.actions.names == ("search",)
