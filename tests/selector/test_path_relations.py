"""Stored paths of like tasks, aligned with what was done."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector import call_table
from selector.alignment import SKIP_DONE, SKIP_STORED, Alignment
from selector.in_sight import Sights, sights_of
from selector.path_relations import PATH_RELATIONS, PathBook, StoredPath
from selector.situation import Situation
from selector.stored_paths import bridges_to
from selector.task_words import Bridge, differing, exchanged
from trajstore.render import PastStep
from trajstore.schema import Candidate

HERE = np.array([1.0, 0.0], np.float32)
WORDS = st.sampled_from(["red", "green", "box", "apple", "the", "in"])


def path(task: str, *steps: tuple[str, str]) -> StoredPath:
    states_LD = np.tile(HERE, (len(steps), 1))
    return StoredPath(task, tuple(tool for tool, _ in steps), tuple(args for _, args in steps), states_LD)


def situation(task: str, done: list[tuple[str, str]], offered: list[tuple[str, str]]) -> Situation:
    candidates = tuple(Candidate(tool, {"object": args}, f"{tool} {args}") for tool, args in offered)
    return Situation(task, "a room", tuple(PastStep(*step) for step in done), candidates)


def book(task: str, paths: Sequence[StoredPath], sights: Sequence[Sights] | None = None) -> PathBook:
    if sights is None:
        sights = [sights_of(one.task, one.args, [""] * len(one.tools)) for one in paths]
    return PathBook(task, paths, bridges_to(task, paths), sights)


def relation(name: str, seen: Situation, *paths: StoredPath) -> list[float]:
    found = book(seen.task, paths).relations(seen, HERE)
    return [float(value) for value in found[:, PATH_RELATIONS.index(name)]]


def test_after_the_first_steps_of_a_path_its_next_step_stands_out() -> None:
    stored = path("make tea", ("take", "cup"), ("fill", "kettle"), ("boil", "water"), ("pour", "water"))
    seen = situation("make tea", [("take", "cup"), ("fill", "kettle")], [("take", "cup"), ("boil", "water")])
    past, following = relation("paths do exactly it next", seen, stored)
    assert following > 0.6
    assert past < 0.3


def test_a_detour_does_not_lose_the_path() -> None:
    stored = path("make tea", ("take", "cup"), ("fill", "kettle"), ("boil", "water"))
    done = [("take", "cup"), ("look", "wall"), ("look", "door"), ("fill", "kettle")]
    seen = situation("make tea", done, [("boil", "water"), ("fill", "kettle"), ("look", "wall")])
    assert np.argmax(relation("paths do it next", seen, stored)) == 0


def test_the_words_in_which_tasks_differ_are_exchanged() -> None:
    stored = path("put it in the green box", ("move", "green box"))
    seen = situation("put it in the red box", [], [("move", "green box"), ("move", "red box")])
    green, red = relation("paths do exactly it next", seen, stored)
    assert (green, red) == (0.0, 1.0)


def test_a_name_is_exchanged_as_a_whole_and_nothing_else_that_shares_its_word() -> None:
    stored = path("light the red lamp", ("take", "red wire"), ("light", "red lamp"))
    offered = [("take", "red wire"), ("take", "blue wire"), ("light", "red lamp"), ("light", "blue lamp")]
    seen = situation("light the blue lamp", [], offered)
    assert relation("paths ever do exactly it", seen, stored) == pytest.approx([1.0, 0.0, 0.0, 1.0])


def test_a_path_that_does_something_else_with_the_same_things_counts_less() -> None:
    """ "freeze" and "melt" are what is done: no path acts on them."""
    freeze, melt = path("freeze milk", ("take", "milk")), path("melt milk", ("take", "milk"))
    other = path("melt tea", ("take", "tea"))
    costs = [bridge.cost for bridge in bridges_to("melt ice cream", [freeze, melt, other])]
    assert costs[0] > costs[1] == costs[2]
    assert all("ice cream" in dict(bridge.pairs).values() for bridge in bridges_to("melt ice cream", [freeze, other]))


def test_what_was_done_in_the_place_of_a_stored_step_is_spoken_of_from_then_on() -> None:
    stored = path("find an animal", ("focus", "dove"), ("take", "dove"))
    seen = situation("find an animal", [("focus", "turtle")], [("take", "dove"), ("take", "turtle")])
    dove, turtle = relation("paths do exactly it next, in this episode's words", seen, stored)
    assert turtle > 0.6
    assert dove < 0.1


def test_a_difference_that_no_exchange_mends_costs_more() -> None:
    """ "boil milk" differs from each in one word; only the first path speaks of that word."""
    spoken, silent = path("boil water", ("take", "water")), path("freeze milk", ("take", "milk"))
    mended, unmended = bridges_to("boil milk", [spoken, silent])
    assert mended.cost < unmended.cost


def test_the_path_of_the_task_that_sounds_nearest_counts_most() -> None:
    near, far = path("find a plant", ("take", "fern")), path("find an animal in the zoo", ("take", "dove"))
    seen = situation("find a plant", [], [("take", "dove"), ("take", "fern")])
    dove, fern = relation("paths do it next", seen, far, near)
    assert fern > dove


def test_without_paths_nothing_is_said() -> None:
    seen = situation("a", [], [("take", "cup"), ("take", "pot")])
    assert not book("a", []).relations(seen, HERE).any()
    assert book("a", [path("a")]).relations(seen, HERE).shape == (2, len(PATH_RELATIONS))


@given(st.permutations(range(4)))
def test_the_order_in_which_paths_are_stored_does_not_matter(order: list[int]) -> None:
    paths = [path("a", ("take", name), ("fill", name)) for name in ("cup", "pot", "jar", "mug")]
    bridges = [Bridge((), cost) for cost in (0.1, 0.2, 0.3, 0.4)]
    seen = situation("a", [("take", "cup")], [("fill", "cup"), ("fill", "jar"), ("take", "mug")])
    sights = [sights_of(one.task, one.args, ["", ""]) for one in paths]
    expected = PathBook("a", paths, bridges, sights).relations(seen, HERE)
    parts = ([one[place] for place in order] for one in (paths, bridges, sights))
    found = PathBook("a", *parts).relations(seen, HERE)
    assert found == pytest.approx(expected, abs=1e-3)


CALLS = st.tuples(st.sampled_from(["take", "fill", "go"]), st.sampled_from(["", "cup", "red cup", "jar", "green jar"]))
MOMENTS = st.tuples(st.lists(CALLS, max_size=4), st.lists(CALLS, min_size=1, max_size=5))


@given(st.lists(st.lists(CALLS, max_size=5), min_size=1, max_size=3), st.lists(MOMENTS, min_size=1, max_size=4))
def test_what_a_book_was_asked_before_changes_no_answer(stored: list, asked: list) -> None:
    paths = [path(f"make {number} cup", *steps) for number, steps in enumerate(stored)]
    task = "make 1 green jar"
    used = book(task, paths)
    for done, offered in asked:
        seen = situation(task, done, offered)
        assert used.relations(seen, HERE) == pytest.approx(book(task, paths).relations(seen, HERE), abs=1e-6)


@given(st.integers(0, 4), st.integers(0, 4), st.randoms(use_true_random=False))
def test_alignment_scores_are_those_of_the_recursion(done: int, stored: int, random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]  # a random.Random
    match_TL = np.where(rng.random((done, stored)) < 0.5, rng.random((done, stored)), -np.inf)

    weights_L, weights_T = rng.random(stored), rng.random(done)

    @cache
    def best(steps: int, place: int) -> float:
        if not steps and not place:
            return 0.0
        ways = [-np.inf]
        ways += [best(steps - 1, place) - SKIP_DONE * weights_T[steps - 1]] if steps else []
        ways += [best(steps, place - 1) - SKIP_STORED * weights_L[place - 1]] if place else []
        ways += [best(steps - 1, place - 1) + match_TL[steps - 1, place - 1]] if steps and place else []
        return float(max(ways))

    alignment = Alignment(weights_L[None, :])
    for step in range(done):
        alignment.add(step, match_TL[step][None, :], weights_T[step : step + 1])
    assert alignment.scores[0] == pytest.approx(np.array([best(done, place) for place in range(stored + 1)]))
    pairs = alignment.pairs(0, stored)
    steps, places = ({pair[side] for pair in pairs} for side in (0, 1))
    skipped = SKIP_DONE * sum(weights_T[step] for step in range(done) if step not in steps)
    skipped += SKIP_STORED * sum(weights_L[place] for place in range(stored) if place not in places)
    assert sum(match_TL[pair] for pair in pairs) - skipped == pytest.approx(best(done, stored))
    assert pairs == sorted(pairs)


def test_what_a_path_does_once_tells_more_of_it_than_how_often_it_looked_around() -> None:
    rooms = [("go", name) for name in ("hall", "attic", "cellar", "yard")]
    heated = path("warm cup", *rooms, ("take", "cup"), ("heat", "cup"))
    cooled = path("chill cup", rooms[0], ("take", "cup"), ("cool", "cup"))
    sights = [sights_of(one.task, one.args, [""] * len(one.args)) for one in (heated, cooled)]
    stored = PathBook("chill cup", [heated, cooled], [Bridge((), 0.5), Bridge((), 0.0)], sights)
    seen = situation("chill cup", [*rooms, ("take", "cup")], [("heat", "cup"), ("cool", "cup")])
    heat, cool = stored.relations(seen, HERE)[:, PATH_RELATIONS.index("paths do it next")]
    assert cool > heat


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, max_size=8))
def test_only_words_of_the_other_task_come_in(stored: list[str], asked: list[str]) -> None:
    mine, theirs = " ".join(stored), " ".join(asked)
    assert set(exchanged(mine, differing(mine, theirs)).split()) <= set(stored) | set(asked)


def test_equal_tasks_differ_in_nothing() -> None:
    assert differing("boil the water", "boil the water") == ()
    assert exchanged("boil, the Water", ()) == "boil the water"


def test_what_a_path_does_first_is_missing_until_it_is_done() -> None:
    stored = path("make tea", ("take", "cup"), ("take", "herb"), ("boil", "water"))
    offered = [("take", "herb"), ("boil", "water")]
    for name, of_herb in (
        ("missing of what paths do before it", 1.0),
        ("missing of what its tool does before it in paths", 1.0),
    ):
        before = relation(name, situation("make tea", [], offered), stored)
        after = relation(name, situation("make tea", [("take", "cup")], offered), stored)
        assert before[0] == pytest.approx(of_herb, abs=0.05)
        assert after[0] == 0.0
        assert after[1] <= before[1]


def test_what_was_done_as_often_as_the_paths_do_it_is_used_up() -> None:
    stored = path("make tea", ("take", "cup"), ("wait", ""), ("wait", ""), ("pour", "tea"))
    offered = [("take", "cup"), ("wait", ""), ("pour", "tea")]
    for done, expected in (
        ([], [0.0, 0.0, 0.0]),
        ([("take", "cup"), ("wait", "")], [1.0, 0.0, 0.0]),
        ([("take", "cup"), ("wait", ""), ("wait", "")], [1.0, 1.0, 0.0]),
    ):
        seen = situation("make tea", done, offered)
        assert relation("done as often as paths do it", seen, stored) == pytest.approx(expected)
        assert relation("its tool called as often as in paths", seen, stored) == pytest.approx(expected)


def test_what_another_task_asked_for_is_told_apart_from_what_this_one_asks_for() -> None:
    stored = path("put it in the green box", ("move", "green box"))
    seen = situation("put it in the red box", [], [("move", "green box"), ("move", "red box")])
    name = "paths do exactly it next, in the words of their own tasks"
    assert relation(name, seen, stored) == [1.0, 0.0]
    assert relation(name, situation("put it in the green box", [], [("move", "green box")]), stored) == [0.0]


def test_a_tool_that_comes_next_lacks_its_object_where_nothing_that_is_offered_fits() -> None:
    stored = path("find it", ("open", "door"), ("focus", "milk"))
    name = "paths use its tool next with what is not offered"
    lacking = situation("find it", [("open", "door")], [("focus", "lamp"), ("open", "fridge")])
    offered = situation("find it", [("open", "door")], [("focus", "lamp"), ("focus", "milk")])
    assert relation(name, lacking, stored)[0] > 0.6
    assert relation(name, offered, stored) == pytest.approx([0.0, 0.0], abs=0.05)
    assert relation("of its tool it fits best what paths do next", offered, stored)[1] > 0.9


def test_the_share_that_is_done_grows_along_the_path() -> None:
    calls = [("take", "cup"), ("fill", "kettle"), ("boil", "water"), ("pour", "tea")]
    shares = [
        relation(
            "share of the paths that is done", situation("make tea", calls[:done], calls), path("make tea", *calls)
        )
        for done in range(4)
    ]
    assert [share[0] for share in shares] == sorted(share[0] for share in shares)
    assert shares[0][0] < 0.2
    assert shares[3][0] > 0.6


def test_a_table_that_is_full_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [("take", name) for name in ("cup", "pot", "jar", "mug", "box")]
    stored = path("a", *calls)
    seen = [situation("a", calls[:done], calls) for done in range(5)]
    expected = [book("a", [stored]).relations(one, HERE) for one in seen]
    monkeypatch.setattr(call_table, "MOST_ROWS", 4)
    small = book("a", [stored])
    assert [small.relations(one, HERE) for one in seen] == [pytest.approx(one) for one in expected]


NAMED_ALIKE = "named by the task as far as what its tool does in paths (log)"


def test_a_tool_that_acts_on_what_tasks_name_does_so_here() -> None:
    paths = [path(f"freeze the {one}", ("open", "door"), ("focus", one)) for one in ("milk", "juice", "tea")]
    seen = situation("freeze the cream", [], [("focus", "milk"), ("focus", "cream"), ("wave", "flag")])
    other, named, unknown = relation(NAMED_ALIKE, seen, *paths)
    assert named > unknown > other
    assert other == pytest.approx(0.0, abs=0.01)


def test_a_tool_that_acts_on_what_tasks_leave_open_does_so_here() -> None:
    paths = [path("find an animal and put it in the box", ("focus", one)) for one in ("cat", "dog")]
    seen = situation("find an animal and put it in the box", [], [("focus", "box"), ("focus", "hare")])
    box, hare = relation(NAMED_ALIKE, seen, *paths)
    assert hare > 3.0
    assert box < 0.1
