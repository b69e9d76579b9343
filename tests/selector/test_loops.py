"""What is a loop, what is none, and which candidates it masks."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.errors import SelectorUsageError
from selector.loops import (
    LoopConfig,
    candidates_to_mask,
    find_loop,
    loop_reasons,
    looping_steps,
    periodic_steps,
    should_defer,
)
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate

CONFIG = LoopConfig()
OPEN, LOOK = Candidate("open", {"object": "door"}, "open door"), Candidate("look")
BACK = Candidate("open", {"object": "gate"}, "open gate")
LOCKED = PastStep("open", "door", "The door is locked.", state="hall")
NONE_FOUND = PastStep("search", "flights", "none found")
BOOK = PastStep("book", "", "fully booked")
CALL = PastStep("call", "clerk", "no answer")

calls = st.builds(
    PastStep,
    st.sampled_from(["open", "look", "search"]),
    st.sampled_from(["", "door"]),
    st.sampled_from(["", "locked"]),
    state=st.just("hall"),
)
offers = st.sampled_from([OPEN, LOOK, Candidate("search"), Candidate("look", {"object": "door"}), Candidate("new")])
histories = st.lists(calls, max_size=14)


def among(*candidates: Candidate, history: tuple[PastStep, ...] = (), state: str = "hall") -> Situation:
    return Situation("get out", state, history, candidates)


def masked(situation: Situation, config: LoopConfig, likeness: np.ndarray | None = None) -> dict[int, str]:
    return loop_reasons(situation, config, find_loop(situation.history, config, likeness))


def among_tools(*tools: str, history: tuple[PastStep, ...]) -> Situation:
    return among(*map(Candidate, tools), history=history)


def test_an_action_that_brought_the_same_twice_in_this_state_is_masked_with_its_reason():
    reasons = masked(among(OPEN, LOOK, history=(LOCKED, LOCKED)), CONFIG)
    assert reasons == {0: "loop: done 2 times in this state with the same observation"}


def test_an_action_that_was_refused_is_masked_as_long_as_the_same_is_offered():
    offered = among(OPEN, LOOK).actions
    refused = PastStep("open", "door", "what door?", failed=True, state="hall", offered=offered, refused=True)
    looked = PastStep("look", observation="a hall", state="hall", offered=offered)
    for history in ((refused,), (refused, looked)):
        assert masked(among(OPEN, LOOK, history=history), CONFIG) == {
            0: "loop: refused before, when the same was offered"
        }
    assert masked(among(OPEN, LOOK, Candidate("close", {"object": "door"}), history=(refused,)), CONFIG) == {}
    assert masked(among(OPEN, LOOK, history=(replace(refused, refused=False),)), CONFIG) == {}


def test_a_bare_tool_whose_call_was_refused_may_be_called_again_with_other_arguments():
    situation = among_tools("open", "look", history=())
    refused = PastStep("open", "", "open what?", failed=True, state="hall", offered=situation.actions, refused=True)
    assert masked(among_tools("open", "look", history=(refused,)), CONFIG) == {}


def test_the_same_action_is_recognised_however_it_is_written():
    loud = Candidate("Open", {"object": "Door"})
    history = (PastStep("Open", "door", "locked", state="hall"),) * 2
    assert list(masked(among(loud, LOOK, history=history), CONFIG)) == [0]


@pytest.mark.parametrize("other", [replace(LOCKED, observation="It moves a little."), replace(LOCKED, state="cellar")])
def test_an_action_that_saw_something_else_or_was_elsewhere_is_not_masked(other):
    assert masked(among(OPEN, LOOK, history=(LOCKED, other)), CONFIG) == {}


def test_what_was_done_in_vain_may_be_done_again_once_its_object_was_treated_in_a_new_way():
    put = Candidate("put", {"object": "cup", "place": "shelf"})
    seen = [PastStep("put", "cup shelf", "It stands there.", state="hall")] * 2
    for between, is_masked in (
        (PastStep("wash", "cup basin", "It is clean.", state="hall"), False),
        (PastStep("wash", "pan basin", "It is clean.", state="hall"), True),
        (PastStep("wash", "cup basin", "There is no water.", state="hall", failed=True), True),
    ):
        assert (0 in masked(among(put, LOOK, history=(*seen, between)), CONFIG)) == is_masked
    known = PastStep("wash", "cup basin", "It is clean.", state="hall")
    assert 0 in masked(among(put, LOOK, history=(known, *seen, known)), CONFIG)


def test_as_many_repeats_as_the_settings_say_make_an_action_a_loop():
    patient = LoopConfig(action_repeats=3)
    assert masked(among(OPEN, LOOK, history=(LOCKED,) * 2), patient) == {}
    assert list(masked(among(OPEN, LOOK, history=(LOCKED,) * 3), patient)) == [0]


def test_a_bare_tool_is_masked_after_as_many_equal_calls_as_its_own_setting_says():
    three = among_tools("search", "book", history=(NONE_FOUND,) * 3)
    four = among_tools("search", "book", history=(BOOK, *(NONE_FOUND,) * 4))
    assert masked(three, CONFIG) == {}
    assert masked(four, CONFIG) == {0: "loop: the last 4 calls had the same arguments and observation"}


def test_checking_again_and_seeing_something_else_is_no_loop():
    """A network status that is asked for again and again while it changes is work, not a loop."""
    history = tuple(PastStep("status", "line 1", f"signal {bars}") for bars in range(30))
    assert find_loop(history, CONFIG, np.ones(30)) is None


def test_a_loop_that_was_left_is_none():
    assert find_loop((*(NONE_FOUND,) * 9, BOOK), CONFIG) is None


@pytest.mark.parametrize("cycle", [(BOOK, NONE_FOUND), (BOOK, NONE_FOUND, CALL), (BOOK, BOOK, NONE_FOUND, CALL)])
def test_a_cycle_is_found_at_its_second_round_and_only_its_next_call_is_masked(cycle):
    rounds = cycle * 2
    loop = find_loop((LOCKED, *rounds), CONFIG)
    assert find_loop((LOCKED, *rounds[:-1]), CONFIG) is None
    assert loop is not None
    assert (loop.kind, loop.length, loop.repeats, loop.overrun) == ("cycle", len(cycle), 2, 0)
    assert loop.tools == {step.tool for step in cycle}
    situation = among_tools("search", "book", "call", history=rounds)
    assert list(candidates_to_mask(situation, loop)) == [1]
    assert loop.reason == f"loop: the same {len(cycle)} calls came 2 times with the same observations"


def test_a_cycle_longer_than_the_settings_allow_is_none():
    cycle = tuple(PastStep(f"tool {number}") for number in range(5))
    assert find_loop(cycle * 4, CONFIG) is None
    assert find_loop(cycle * 4, LoopConfig(longest_cycle=5)) is not None


def test_the_same_call_again_and_again_is_no_cycle():
    patient = LoopConfig(tool_repeats=30)
    assert find_loop((NONE_FOUND,) * 20, patient) is None
    assert not looping_steps((NONE_FOUND,) * 20, patient).any()


def test_a_grounded_cycle_masks_the_action_that_comes_next_and_not_its_tool():
    north, south = (
        PastStep("go", "north", "a hall", state="cellar"),
        PastStep("go", "south", "a cellar", state="hall"),
    )
    away, back = Candidate("go", {"way": "north"}), Candidate("go", {"way": "south"})
    situation = among(away, back, Candidate("go", {"way": "east"}), history=(north, south) * 2, state="attic")
    assert list(masked(situation, CONFIG)) == [0]


def test_nothing_new_done_or_seen_in_like_states_is_a_lack_of_progress():
    seen = (NONE_FOUND, BOOK, CALL)
    vain = (BOOK, NONE_FOUND, CALL, CALL, BOOK, NONE_FOUND)
    loop = find_loop(seen + vain, CONFIG, np.ones(9))
    assert loop is not None
    assert (loop.kind, loop.overrun) == ("no progress", 0)
    assert loop.reason == "loop: nothing new was done or seen in the last 6 steps"
    masked = candidates_to_mask(among_tools("search", "fly", "book", history=seen + vain), loop)
    assert list(masked) == [0, 2]


def test_progress_is_a_state_unlike_the_present_one_or_an_observation_never_made():
    history = (NONE_FOUND, BOOK, CALL, BOOK, NONE_FOUND, CALL, CALL, BOOK, NONE_FOUND)
    moved = np.where(np.arange(9) == 6, 0.9, 1.0)
    news = (*history[:6], replace(CALL, observation="hello"), *history[7:])
    assert find_loop(history, CONFIG, moved) is None
    assert find_loop(news, CONFIG, np.ones(9)) is None
    assert find_loop(history, CONFIG) is None


def test_new_calls_that_find_as_little_are_a_search_and_no_loop():
    history = tuple(PastStep("search", f"flights on day {day}", "none found") for day in range(12))
    assert find_loop(history, CONFIG, np.ones(12)) is None


def test_deferring_comes_after_the_loop_outlasted_the_patience():
    config = LoopConfig(tool_repeats=4, patience=3)
    for repeats, expected in [(4, False), (6, False), (7, True), (20, True)]:
        situation = among_tools("search", "book", history=(NONE_FOUND,) * repeats)
        loop = find_loop(situation.history, config)
        assert loop is not None
        assert should_defer(situation, loop, config) is expected


def test_deferring_comes_at_once_where_every_candidate_goes_on_with_the_loop():
    situation = among_tools("search", history=(NONE_FOUND,) * 4)
    loop = find_loop(situation.history, CONFIG)
    assert loop is not None
    assert should_defer(situation, loop, CONFIG)


@given(histories, st.integers(1, 4))
def test_the_newest_periodic_steps_are_those_that_a_search_from_the_front_finds(history, period):
    keys = [(step.tool, step.args, step.observation) for step in history]
    lengths = [
        length
        for length in range(1, len(keys) + 1)
        if all(keys[-1 - at] == keys[-1 - at - period] for at in range(max(0, length - period)))
    ]
    assert periodic_steps(keys, period) == max(lengths, default=0)


@given(histories, st.lists(offers, min_size=1, max_size=4))
def test_only_what_was_done_before_is_masked_and_always_with_a_reason(history, offered):
    situation = among(*offered, history=tuple(history))
    reasons = masked(situation, CONFIG, np.ones(len(history)))
    done = {step.tool for step in history}
    assert all(offered[place].tool in done for place in reasons)
    assert all(reason.startswith("loop: ") for reason in reasons.values())


@given(histories, st.lists(offers, min_size=1, max_size=4))
def test_whoever_repeats_more_patiently_masks_less(history, offered):
    situation = among(*offered, history=tuple(history))
    patient = LoopConfig(action_repeats=3, tool_repeats=6, cycle_repeats=6, stalled_steps=9)
    likeness = np.ones(len(history))
    found, later = find_loop(history, CONFIG, likeness), find_loop(history, patient, likeness)
    assert later is None or found is not None
    assert set(masked(situation, replace(patient, action_repeats=99))) <= set(masked(situation, CONFIG))


@given(st.lists(st.integers(0, 5), max_size=12, unique=True))
def test_steps_that_are_all_different_are_never_a_loop(numbers):
    history = tuple(PastStep("look", str(number), str(number)) for number in numbers)
    assert find_loop(history, CONFIG, np.ones(len(history))) is None
    assert not looping_steps(history, CONFIG).any()


@given(histories)
def test_a_step_lies_in_a_loop_where_a_loop_was_found_with_it_as_newest(history):
    inside = looping_steps(history, CONFIG)
    for at in range(1, len(history) + 1):
        if find_loop(history[:at], CONFIG) is not None:
            assert inside[at - 1]


def test_the_first_round_of_a_loop_is_spared():
    history = (CALL, *(BOOK, NONE_FOUND) * 2, LOCKED)
    assert looping_steps(history, CONFIG).tolist() == [False] * 3 + [True] * 2 + [False]


@pytest.mark.parametrize(
    "setting", [{"action_repeats": 1}, {"cycle_repeats": 0}, {"patience": 0}, {"longest_cycle": 0}, {"likeness": 1.5}]
)
def test_a_setting_out_of_range_is_refused(setting):
    with pytest.raises(SelectorUsageError, match=next(iter(setting))):
        LoopConfig(**setting)


def test_a_likeness_that_is_not_one_a_step_is_refused():
    with pytest.raises(SelectorUsageError, match="one entry a step"):
        find_loop((BOOK, CALL), CONFIG, np.ones(3))


def test_a_clock_in_observations_and_states_hides_no_loop():
    rooms = ["yard", "hall", "attic", "hall", "attic", "hall"]
    walked = tuple(
        PastStep("go", room, f"You are in the {room}. Move {move}.", state=f"in the {before}\nMove {move - 1}.")
        for move, (before, room) in enumerate(pairwise(["gate", *rooms]), 1)
    )
    loop = find_loop(walked, CONFIG)
    assert loop is not None
    assert (loop.kind, loop.next_action) == ("cycle", "go attic")
    back = Candidate("go", {"place": "attic"}, "go attic")
    assert set(masked(among(back, LOOK, history=walked, state="in the hall\nMove 6."), CONFIG)) == {0}


def test_an_action_repeated_in_a_state_that_differs_by_a_clock_is_masked():
    said = [("look", ""), ("call", "clerk"), ("open", "door"), ("open", "door")]
    history = tuple(PastStep(tool, args, f"no. {at}", state=f"hall, {at}") for at, (tool, args) in enumerate(said, 10))
    assert set(masked(among(OPEN, BACK, history=history, state="hall, 14"), CONFIG)) == {0}


def test_what_one_job_says_of_how_far_it_is_is_no_clock():
    polled = (PastStep("start", "", "job 7"), *(PastStep("poll", "7", f"{done} %") for done in range(10, 90, 10)))
    assert find_loop(polled, CONFIG) is None
