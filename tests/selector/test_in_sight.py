"""What tasks name in the states of stored paths, and now."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from test_path_relations import HERE, book, path

from selector.in_sight import SightTable, seen_in, sights_of
from selector.path_relations import PATH_RELATIONS
from selector.situation import Situation
from selector.task_words import exchanged
from trajstore.render import PastStep
from trajstore.schema import Candidate

NAMES = ("tea", "red tea", "milk")
TEXTS = st.lists(st.sampled_from(["tea", "red", "milk", "cup"]), max_size=6).map(" ".join)


def test_only_what_the_task_names_and_the_path_acts_on_is_looked_for() -> None:
    sights = sights_of("boil the red tea in a pot", ["cup", "the red tea", "stove"], ["a pot", "red tea", "tea, red"])
    assert sights.phrases == ("red tea",)
    assert sights.seen_LF[:, 0].tolist() == [False, True, False]


def test_a_path_without_steps_or_names_has_no_sights() -> None:
    assert sights_of("boil the tea", [], []).seen_LF.shape == (0, 0)
    assert sights_of("boil the tea", ["stove"], ["a stove"]).seen_LF.shape == (1, 0)
    table = SightTable([sights_of("boil the tea", ["stove"], ["a stove"])], [()], 2)
    assert table.differing("a stove").tolist() == [[0.0, 0.0]]


@given(st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from(NAMES)), max_size=4), TEXTS)
def test_the_share_is_that_of_the_phrases_that_only_one_of_the_states_has(
    paths: list[tuple[list[str], str]], now: str
) -> None:
    pairs = (("red tea", "milk"), ("tea", "milk"))
    sights = [sights_of(f"boil {name}", [name, "milk"], states) for states, name in paths]
    table = SightTable(sights, [pairs] * len(sights), 4).differing(now)
    for number, (one, (states, _)) in enumerate(zip(sights, paths, strict=True)):
        images = [exchanged(phrase, pairs) for phrase in one.phrases]
        for step, state in enumerate(states):
            then, here = seen_in([state], one.phrases)[0], seen_in([now], images)[0]
            assert np.isclose(table[number, step], np.mean(then != here) if images else 0.0)


def test_what_is_in_sight_says_which_of_two_paths_that_began_alike_goes_on() -> None:
    """One task fetches its drink from the shelf, the other has to brew it."""
    begun = [("go", "kitchen")]
    brewed = path("boil tea", *begun, ("brew", "leaves"), ("take", "tea"))
    fetched = path("boil juice", *begun, ("take", "juice"), ("heat", "juice"))
    states = ["hall", "kitchen", "kitchen with tea"], ["hall", "kitchen with juice", "kitchen"]
    sights = [sights_of(one.task, one.args, seen) for one, seen in zip((brewed, fetched), states, strict=True)]
    offered = ("brew", "leaves"), ("take", "milk")
    candidates = [Candidate(tool, {"object": name}, f"{tool} {name}") for tool, name in offered]

    def next_of(state: str) -> int:
        seen = Situation("boil milk", state, tuple(PastStep(*step) for step in begun), tuple(candidates))
        found = book("boil milk", [brewed, fetched], sights).relations(seen, HERE)
        return int(np.argmax(found[:, PATH_RELATIONS.index("paths do exactly it next")]))

    assert next_of("kitchen") == 0
    assert next_of("kitchen with milk") == 1
