"""Laws of the map of an episode and of the relations that are read off it, against brute force and small worlds."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import shortest_path

from selector.asked_relations import ASKED_RELATIONS, asked_relations
from selector.episode_map import map_of, read_state
from selector.place_relations import PLACE_RELATIONS, place_relations
from selector.read_map import distances, linked_names
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate

ROOMS = ("hall", "kitchen", "attic", "cellar", "garden")
COMPASS = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}


def step_of(tool: str, args: str, observation: str, state: str, offered: tuple[str, ...]) -> PastStep:
    return PastStep(tool, args, observation, state=state, offered=offered, reward=0.0)


class House:
    """Rooms on a grid; the state tells its exits, one of which may be shut."""

    def __init__(self, rooms: dict[tuple[int, int], str], shut: frozenset[tuple[tuple[int, int], str]] = frozenset()):
        self.rooms, self.shut, self.at = rooms, set(shut), (0, 0)

    def exits(self) -> dict[str, tuple[int, int]]:
        goals = {name: (self.at[0] + x, self.at[1] + y) for name, (x, y) in COMPASS.items()}
        return {name: goal for name, goal in goals.items() if goal in self.rooms}

    def state(self) -> str:
        seen = [f"You are in the {self.rooms[self.at]}."]
        for name, goal in self.exits().items():
            what = "a closed door" if (self.at, name) in self.shut else f"the {self.rooms[goal]}"
            seen.append(f"To the {name} you see {what}.")
        return " ".join(seen)

    def candidates(self) -> tuple[Candidate, ...]:
        moves = [Candidate("move", {"object": name}, f"move {name}") for name in self.exits()]
        return (*moves, Candidate("wait", {}, "wait"))

    def do(self, candidate: Candidate) -> PastStep:
        name, state = candidate.args.get("object", ""), self.state()
        offered = tuple(f"{other.tool} {other.args.get('object', '')}".strip() for other in self.candidates())
        stays = not name or (self.at, name) in self.shut
        self.at = self.at if stays else self.exits()[name]
        told = "Nothing happens." if stays else self.state()
        return PastStep(candidate.tool, name, told, stays and bool(name), state, offered, 0.0)


LINE = {(place, 0): name for place, name in enumerate(ROOMS)}
CROSS = dict(zip([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], ROOMS, strict=True))


def walk(house: House, *names: str, task: str = "Find the lamp.") -> Situation:
    steps = [house.do(Candidate("wait") if name == "wait" else Candidate("move", {"object": name})) for name in names]
    return Situation(task, house.state(), tuple(steps), house.candidates())


def column(situation: Situation, name: str) -> dict[str, float]:
    values = place_relations(situation)[:, PLACE_RELATIONS.index(name)]
    return dict(zip(situation.actions, values.tolist(), strict=True))


def asked_column(situation: Situation, name: str) -> dict[str, float]:
    values = asked_relations(situation)[:, ASKED_RELATIONS.index(name)]
    return dict(zip(situation.actions, values.tolist(), strict=True))


@given(st.lists(st.integers(0, 9), max_size=25), st.sampled_from([LINE, CROSS]))
@settings(max_examples=40, deadline=None)
def test_every_walk_gives_finite_numbers_of_the_stated_shape(choices, rooms):
    house = House(rooms)
    history = []
    for choice in choices:
        offered = house.candidates()
        history.append(house.do(offered[choice % len(offered)]))
    situation = Situation("Find the attic.", house.state(), tuple(history), house.candidates())
    for values, names in [
        (place_relations(situation), PLACE_RELATIONS),
        (asked_relations(situation), ASKED_RELATIONS),
    ]:
        assert values.shape == (len(situation.candidates), len(names))
        assert np.all((values >= -1.0) & (values <= 1.2))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=25), st.data())
@settings(max_examples=25, deadline=None)
def test_a_map_grown_step_by_step_equals_one_made_at_once_from_a_copy(choices, data):
    house = House(CROSS)
    history: list[PastStep] = []
    for choice in choices:
        offered = house.candidates()
        history.append(house.do(offered[choice % len(offered)]))
        map_of(tuple(history), house.state(), ("wait",))
    cut = data.draw(st.integers(0, len(history)))
    copied = tuple(PastStep(*(getattr(step, name) for name in PastStep.__slots__)) for step in history[:cut])
    state = history[cut].state if cut < len(history) else house.state()
    assert map_of(copied, state, ("wait",)) == map_of(tuple(history[:cut]), state, ("wait",))


def test_a_history_of_a_thousand_steps_needs_no_deep_recursion():
    steps = tuple(PastStep("wait", observation="Nothing.", state=f"Room {n % 9}.") for n in range(1200))
    assert map_of(steps, "Room 1200.", ("wait",)).clock == 1200


def test_another_last_step_makes_another_map_even_where_hashes_agree():
    here = step_of("move", "north", "told", "A place.", ("move north",))
    there = step_of("move", "north", "told", "A place.", ("move north", "move south"))
    assert "move south" not in map_of((here,), "Elsewhere.", ("wait",)).things
    assert "move south" in map_of((there,), "Elsewhere.", ("wait",)).things


def test_a_state_without_words_and_a_history_without_states_are_no_errors():
    situation = Situation(
        "", "", (PastStep("look"), PastStep("take", "coin")), (Candidate("take", {"object": "coin"}),)
    )
    assert place_relations(situation).shape == (1, len(PLACE_RELATIONS))
    assert asked_relations(situation).shape == (1, len(ASKED_RELATIONS))


def test_the_way_just_gone_leads_back_once_the_state_names_where_it_leads():
    situation = walk(House(CROSS), "east")
    assert column(situation, "leads back") == {"move west": 1.0, "wait": 0.0}
    assert column(situation, "leads to a known place")["move west"] == 1.0


def test_exits_that_name_no_visited_place_lead_to_somewhere_new():
    situation = walk(House(CROSS), "east", "west")
    new = column(situation, "leads to somewhere new")
    assert new == {"move north": 1.0, "move south": 1.0, "move east": 0.0, "move west": 1.0, "wait": 0.0}


def test_a_door_that_was_tried_in_vain_leads_nowhere_until_the_state_tells_of_it_otherwise():
    house = House(CROSS, frozenset({((0, 0), "north")}))
    shut = walk(house, "east", "west", "north")
    assert column(shut, "changed nothing here")["move north"] == 1.0
    assert column(shut, "leads to somewhere new")["move north"] == 0.0
    house.shut.clear()
    opened = Situation(shut.task, house.state(), shut.history, house.candidates())
    assert column(opened, "changed nothing here")["move north"] == 0.0
    assert column(opened, "leads to somewhere new")["move north"] == 1.0


def test_no_way_is_known_before_anything_moved():
    situation = walk(House(CROSS), "wait")
    at = PLACE_RELATIONS.index("leads to a known place")
    assert not place_relations(situation)[:, at:].any()


def test_a_verb_is_known_by_what_it_did():
    situation = walk(House(CROSS), "east", "west", "wait")
    assert column(situation, "its verb moves") == pytest.approx(dict.fromkeys(situation.actions, 2 / 3) | {"wait": 0.0})


@given(st.integers(1, 4))
def test_at_the_end_of_what_is_known_only_the_untried_exit_leads_nearer_to_it(length):
    house = House({(place, 0): f"chamber {place + 5}" for place in range(-1, 6)})
    situation = walk(house, *["east"] * length)
    nearer = column(situation, "nearer to something untried")
    assert nearer == {"move east": 1.0, "move west": 0.0, "wait": 0.0}


def test_rooms_are_sought_in_the_order_in_which_the_task_names_them():
    links = (
        "The hall connects to the kitchen and the attic. The kitchen connects to the hall. The attic connects to us."
    )
    house = House(CROSS)
    moved = [house.do(Candidate("move", {"object": name})) for name in ("east", "west")]
    read = step_of("read", "map", links, house.state(), ("read map",))
    situation = Situation("Go to the attic, then to the kitchen.", house.state(), (*moved, read), house.candidates())
    nearer = column(situation, "nearer to the next named place")
    assert nearer == {"move north": 0.0, "move south": 0.0, "move east": 0.0, "move west": 1.0, "wait": 0.0}


def test_an_object_that_was_asked_for_pulls_back_to_where_it_was_offered():
    house = House(LINE)
    first = house.do(Candidate("move", {"object": "east"}))
    first = step_of("move", "east", first.observation, first.state, (*first.offered, "take lamp"))
    situation = Situation("Find the lamp.", house.state(), (first,), house.candidates())
    assert column(situation, "nearer to a wanted object") == {"move east": 0.0, "move west": 1.0, "wait": 0.0}


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14), st.integers(0, 7))
@settings(deadline=None)
def test_distances_are_those_of_scipy(pairs, start):
    matrix = np.zeros((8, 8))
    for one, other in pairs:
        matrix[one, other] = matrix[other, one] = one != other
    links = {str(one): [str(other) for other in np.flatnonzero(matrix[one])] for one in range(8)}
    expected = shortest_path(matrix, unweighted=True, indices=start)
    found = distances(links, {str(start): 0})
    assert found == {str(name): int(far) for name, far in enumerate(expected) if np.isfinite(far)}


@given(st.permutations(["red den", "hall", "pantry", "spare room", "alley", "playroom"]))
@settings(max_examples=20)
def test_a_ring_that_was_read_is_a_ring_of_names(names):
    text = " ".join(
        f"The {name} connects to the {names[place - 1]} and {names[(place + 1) % len(names)]}."
        for place, name in enumerate(names)
    )
    links = linked_names(f"The map reads: {text}")
    assert links == {name: {names[place - 1], names[(place + 1) % len(names)]} for place, name in enumerate(names)}


def test_the_description_of_an_action_is_the_first_sentence_with_all_its_arguments():
    text = read_state("You are here. A red box is shut. A red box lies on a blue box.")
    assert text.description(frozenset({"box", "blue"})) >= {"lies", "red"}
    assert text.description(frozenset({"red"})) >= {"shut"}
    assert text.description(frozenset({"green"})) == text.description(frozenset()) == frozenset()


RECIPE = "Gather: leek, pear. Dice the leek. Fry the leek."


def cook(*steps: PastStep) -> Situation:
    kitchen = "You are in the kitchen. You see a leek."
    offered = [
        ("dice", "leek"),
        ("slice", "leek"),
        ("cook in", "leek stove"),
        ("cook in", "leek oven"),
        ("take", "pear"),
    ]
    candidates = tuple(Candidate(tool, {"object": thing}, f"{tool} {thing}") for tool, thing in offered)
    actions = tuple(f"{tool} {thing}" for tool, thing in offered)
    read = step_of("read", "book", RECIPE, kitchen, (*actions, "read book"))
    return Situation("Cook.", f"{kitchen}\n{steps[-1].observation}" if steps else kitchen, (read, *steps), candidates)


def test_what_a_text_spells_out_is_told_from_what_it_does_not():
    assert asked_column(cook(), "spelled out and not done") == {
        "dice leek": 1.0, "slice leek": 0.0, "cook in leek stove": 0.0, "cook in leek oven": 0.0, "take pear": 0.0,
    }  # fmt: skip
    assert asked_column(cook(), "object named")["slice leek"] == 1.0


def test_each_change_uses_up_one_mention_of_its_object():
    before, diced = cook(), "You are in the kitchen. You see a diced leek."
    dice = step_of("dice", "leek", "You dice the leek.", before.state, before.actions)
    after = Situation("Cook.", diced, (*before.history, dice), before.candidates)
    name = "mentions of other objects left"
    assert asked_column(before, name)["take pear"] == 1.0
    assert asked_column(after, name)["take pear"] == pytest.approx(2 / 3)
    assert asked_column(after, name)["slice leek"] == pytest.approx(1 / 3)
    assert asked_column(after, "spelled out and not done")["dice leek"] == 0.0


THINGS = """
from selector.episode_map import map_of
known = map_of((), "a lab", ("investigate water", "mix water red pot", "look at red pot in sink"))
print(sorted(known.things.items()))
"""


def test_what_actions_are_done_to_does_not_hang_on_how_strings_are_hashed():
    told = set()
    for seed in range(6):
        environment = os.environ | {"PYTHONHASHSEED": str(seed)}
        done = subprocess.run(
            [sys.executable, "-c", THINGS], capture_output=True, text=True, check=True, env=environment
        )
        told.add(done.stdout)
    assert len(told) == 1
