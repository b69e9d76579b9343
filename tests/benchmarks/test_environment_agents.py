"""The baselines, the runner and the tables of the environments, in a corridor that is small enough to reason about."""

import sys
from collections import Counter
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from selector.demo.agents import ReplayAgent
from selector.demo.collect import CollectSettings, collect
from selector.demo.rollout import roll_out
from selector.demo.wording import parse_action
from selector.errors import SelectorUsageError
from trajstore.environment import Observation, Transition
from trajstore.schema import Step, Task, Trajectory
from trajstore.store import TrajectoryStore

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
COLOURS = ("red", "blue", "green", "white", "black", "amber")

words = st.sampled_from("abcdef")
paths = st.lists(st.lists(words, min_size=1, max_size=6).map(tuple), min_size=1, max_size=6)


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    """The benchmarks are scripts that find each other in their own folder."""
    sys.path.insert(0, BENCHMARKS)
    yield
    sys.path.remove(BENCHMARKS)


@pytest.fixture(scope="module")
def agents():
    import environment_agents as module

    return module


@pytest.fixture(scope="module")
def drrn():
    import drrn as module

    return module


@pytest.fixture(scope="module")
def live():
    import live_selector as module

    return module


@pytest.fixture(scope="module")
def reports():
    import environment_report as module

    return module


@pytest.fixture(scope="module")
def table():
    import environments_table as module

    return module


class Corridor:
    """Open the door, then take the ball of the colour that the task names; any other ball ends the episode."""

    def __init__(self) -> None:
        self.resets = 0
        self.colour, self.is_open = "", False

    def tasks(self, game, fold, count):
        first = {"train": 0, "dev": 100, "test": 200}[fold]
        return tuple(self.task(game, number) for number in range(first, first + count))

    def task(self, game, number):
        task_id = f"{game}/{number}"
        return Task(f"Bring the {COLOURS[number % len(COLOURS)]} ball.", task_id, task_id, f"corridor/{game}")

    def gold_path(self, task):
        return ("open door", f"take {self.colour_of(task)} ball")

    def as_candidate(self, action):
        return parse_action(action)

    def colour_of(self, task):
        return COLOURS[int(task.task_id.rpartition("/")[2]) % len(COLOURS)]

    def reset(self, task):
        self.resets += 1
        self.colour, self.is_open = self.colour_of(task), False
        return Observation(self.state(), self.offered())

    def step(self, candidate):
        if candidate.text == "open door":
            self.is_open = True
        if candidate.tool != "take":
            return Transition(self.state(), self.offered(), "Yes.", 0.0, "ok", done=False)
        is_right = self.is_open and candidate.text == f"take {self.colour} ball"
        return Transition("The end.", (), "Taken.", float(is_right), "ok", done=True, success=is_right)

    def state(self):
        return "There are balls." if self.is_open else "There is a door."

    def offered(self):
        actions = ["look around", *([f"take {each} ball" for each in COLOURS] if self.is_open else ["open door"])]
        return tuple(map(parse_action, actions))

    def close(self):
        """Nothing runs behind it."""


def memory_of(numbers, **kinds):
    world = Corridor()
    made = CollectSettings(**{"gold": 1, "detours": 0, "random": 0} | kinds)
    return tuple(collect(world, [world.task("ball", number) for number in numbers], made))


def attempt(*actions, success=True, task="do it"):
    steps = (parse_action(action) for action in actions)
    made = tuple(Step(at, one.tool, args=one.args, reward=0.1, candidates=(one,)) for at, one in enumerate(steps))
    return Trajectory(Task(task), made, success=success, reward=float(success))


def seen(*actions, state=""):
    return Observation(state, tuple(map(parse_action, actions)))


def test_doing_nothing_repeats_what_was_offered_first_at_the_start(agents):
    agent = agents.nothing()
    agent.begin(Task("any"))
    offers = [("b", "a"), ("a", "b"), ("c", "a"), ("a", "c", "b")]
    assert [agent.choose(seen(*offer)).text for offer in offers] == ["b", "b", "c", "b"]


def test_gold_succeeds_at_every_task_in_as_many_steps_as_its_path_has(agents):
    world = Corridor()
    for task in world.tasks("ball", "dev", 6):
        rollout = roll_out(world, agents.gold(world), task, max_steps=9)
        assert (rollout.success, rollout.steps) == (True, 2)


def test_the_most_frequent_tool_is_taken_with_the_words_it_most_often_had(agents):
    memory = [attempt("take red ball", "take red cup", "open door"), attempt("open box", "open box", success=False)]
    agent = agents.most_frequent(memory, 0)
    agent.begin(Task("any"))
    assert agent.choose(seen("open box", "take blue cup", "take red ball")).text == "take red ball"
    assert agent.choose(seen("open box", "open door")).text == "open door"


def brute_force_votes(known, done, offered):
    """Looks every path through for the longest end of `done` that an offered action came after."""
    for order in (2, 1, 0):
        tail = tuple(done)[len(done) - order :]
        votes = Counter(
            path[at]
            for path in (("", "", *path) for path in known)
            for at in range(2, len(path))
            if path[at - order : at] == tail
        )
        if any(votes[action] for action in offered):
            return [votes[action] for action in offered]
    return [0] * len(offered)


@given(paths, st.lists(words, max_size=4), st.lists(words, min_size=1, max_size=4, unique=True))
def test_votes_of_the_markov_agent_are_those_of_a_search_through_all_paths(agents, known, done, offered):
    done = ("", "", *done)
    votes = agents.backed_off_votes(agents.following_counts(known), done, offered)
    assert votes == brute_force_votes(known, done, offered)


def test_the_markov_agent_goes_the_way_that_successes_went(agents):
    agent = agents.markov([attempt("a", "b", "c"), attempt("a", "c", "c", success=False)], 0)
    agent.begin(Task("any"))
    assert [agent.choose(seen("c", "b", "a")).text for _ in range(3)] == ["a", "b", "c"]


@given(st.lists(words, min_size=1, max_size=8), st.permutations("uvwxyz"))
def test_renaming_every_word_of_a_text_is_found_and_carried_over_to_its_actions(agents, text, names):
    other = dict(zip("abcdef", names, strict=True))
    swaps = agents.differing_words(" ".join(text), " ".join(other[word] for word in text))
    assert agents.substitute(" ".join(text), swaps) == " ".join(other[word] for word in text)


@given(st.lists(words, max_size=8).map(" ".join))
def test_a_text_differs_from_itself_in_nothing_and_no_swap_changes_nothing(agents, text):
    assert agents.differing_words(text, text) == {}
    assert agents.substitute(text, {}) == text


def test_replay_with_substituted_words_solves_tasks_of_unseen_words_where_plain_replay_fails(agents):
    memory, world = memory_of([0, 1]), Corridor()
    unseen = [task for task in world.tasks("ball", "dev", 12) if world.colour_of(task) not in COLOURS[:2]]
    substituting = agents.substituting_replay(memory, 0)
    assert all(roll_out(world, substituting, task, max_steps=2).success for task in unseen)
    assert not any(roll_out(world, ReplayAgent(memory, 0), task, max_steps=2).success for task in unseen)


class Remembers:
    """A policy that takes the last candidate and keeps what it was asked."""

    version = 0

    def __init__(self):
        self.situations = []

    def log_probabilities(self, situation, *, temperature=1.0):
        return np.zeros(len(situation.candidates))

    def act_with_exploration(self, situation, rng, *, temperature=1.0):
        from grpo.protocols import Action

        self.situations.append(situation)
        return Action(len(situation.candidates) - 1, 0.0)


def test_a_policy_sees_the_steps_of_this_episode_as_stored_ones_are_played_back(agents):
    from trajstore.experience import past_step

    policy, world = Remembers(), Corridor()
    agent = agents.PolicyAgent(policy, 0, "policy")
    for task in world.tasks("ball", "dev", 2):
        policy.situations.clear()
        stored = next(collect(world, [task], CollectSettings(gold=1, detours=0, random=0)))
        roll_out(world, agent, task, max_steps=9)
        assert policy.situations[0].history == ()
        assert policy.situations[1].history == (past_step(stored.steps[0]),)


def test_shuffling_keeps_the_outcomes_but_not_who_had_them_and_tells_no_rewards(agents):
    memory = [attempt("a", success=place % 3 == 0, task=str(place)) for place in range(30)]
    dealt = agents.shuffled(memory, np.random.default_rng(0))
    assert Counter((one.success, one.reward) for one in dealt) == Counter((one.success, one.reward) for one in memory)
    assert [one.task for one in dealt] == [one.task for one in memory]
    assert [one.success for one in dealt] != [one.success for one in memory]
    assert all(step.reward is None for one in dealt for step in one.steps)


def test_each_part_of_the_selector_can_be_switched_off_by_itself(agents):
    usual = agents.config_without("")
    for key in ("goal", "state", "order"):
        keys = agents.config_without(key).retrieval.keys
        assert keys == replace(usual.retrieval.keys, **{key: 0.0})
    assert (
        len({repr(agents.config_without(what)) for what in agents.without_names() if what != "failures"})
        == len(agents.without_names()) - 1
    )
    assert not agents.config_without("").record_episodes


def test_an_environment_counts_each_step_and_changes_none(drrn):
    world = drrn.CountingEnvironment(Corridor())
    task = Corridor().task("ball", 0)
    first = world.reset(task)
    after = world.step(first.candidates[1])
    assert (first.state, after.state, world.steps) == ("There is a door.", "There are balls.", 1)


def test_each_text_has_one_row_of_words_padded_with_zeros_though_the_table_grows(drrn):
    texts = drrn.TokenTable(4, 100)
    rows = texts.rows(["a b", "c", "a b", *map(str, range(3000)), "v w x y z"])
    assert rows[0] == rows[2] != rows[1]
    tokens = texts.tokens(rows[[0, 1, -1]])
    assert ((tokens > 0).sum(axis=1) == [2, 1, 4]).all()
    assert texts.tokens(rows[:1]).shape == (1, 2)
    assert tokens.max() < 100


@pytest.mark.slow
def test_drrn_learns_to_open_the_door_and_to_take_the_ball_that_is_named(drrn):
    world = drrn.CountingEnvironment(Corridor())
    tasks = Corridor().tasks("ball", "train", 2)
    sizes = {"vocabulary": 256, "entries": 32, "hidden": 64}
    config = drrn.DrrnConfig(steps=900, max_steps=8, update_every=2, learning_rate=3e-3, **sizes)
    agent = drrn.train_drrn(world, tasks, config)
    assert 900 <= world.steps <= 900 + 8
    wins = [roll_out(world, agent, task, max_steps=8).success for task in Corridor().tasks("ball", "train", 2) * 10]
    assert np.mean(wins) > 0.8


def test_the_value_after_a_transition_is_the_best_of_its_candidates_and_nothing_at_the_end(drrn):
    learner = drrn.Drrn(drrn.DrrnConfig(vocabulary=64), 0)
    task = Task("any")
    moments = [learner.moment(task, seen("a", "b c", state="x")), learner.moment(task, seen("d", state="y"))]
    batch = [drrn.Memorised(moments[0], 0, 0.0, after) for after in (moments[0], None, moments[1])]
    singles = [
        max(float(learner._values([moment], [moment.actions[[at]]]).detach()) for at in range(len(moment.actions)))
        for moment in moments
    ]
    assert learner._best_after(batch).tolist() == pytest.approx([singles[0], 0.0, singles[1]], abs=1e-6)


def test_a_selector_on_its_own_without_tasks_is_refused(live):
    with pytest.raises(SelectorUsageError, match="got no task"):
        live.learn_live(Corridor(), (), TrajectoryStore(":memory:"), budget=10, max_steps=9)


def test_drrn_without_tasks_is_refused(drrn):
    with pytest.raises(SelectorUsageError, match="hand in at least one"):
        drrn.train_drrn(Corridor(), (), drrn.DrrnConfig(steps=1))


def test_with_one_seed_the_interval_is_scipys_bootstrap_over_tasks(reports):
    values = np.random.default_rng(3).random(40)
    ours = reports.pigeonhole_interval([values[None]], np.random.default_rng(0))
    theirs = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=0).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    assert ours.value == pytest.approx(values.mean())


def test_seeds_that_differ_widen_the_interval_though_tasks_agree(reports):
    agreeing, differing = np.full((4, 20), 0.5), np.repeat([[0.2], [0.4], [0.6], [0.8]], 20, axis=1)
    narrow = reports.pigeonhole_interval([agreeing], np.random.default_rng(0))
    wide = reports.pigeonhole_interval([differing], np.random.default_rng(0))
    assert narrow.high - narrow.low == pytest.approx(0.0, abs=1e-9)
    assert wide.high - wide.low > 0.15


@settings(max_examples=20)
@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=4), st.floats(-5, 5))
def test_an_interval_holds_its_mean_and_moves_with_the_values(reports, rows, shift):
    values = np.array(rows)
    here = reports.pigeonhole_interval([values], np.random.default_rng(0))
    there = reports.pigeonhole_interval([values + shift], np.random.default_rng(0))
    assert here.low - 1e-9 <= here.value <= here.high + 1e-9
    assert (there.low, there.value, there.high) == pytest.approx(
        (here.low + shift, here.value + shift, here.high + shift), abs=1e-9
    )


def test_an_interval_of_nothing_is_refused(reports):
    with pytest.raises(SelectorUsageError, match="at least one game"):
        reports.pigeonhole_interval([], np.random.default_rng(0))


def a_line(reports, agent="random", game="coin", seed=0, scores=(0.0, 1.0), **condition):
    tasks = tuple(reports.TaskResult(f"{game}/{at}", score == 1.0, score, 5 + at) for at, score in enumerate(scores))
    made = reports.Condition("textworld", game, agent, seed, train=10, tests=len(scores), **condition)
    return reports.Line(made, 30, 300, 0, 1.5, 0.5, 2.0, 400.0, tasks)


def test_a_line_that_is_written_comes_back_equal(reports, table, tmp_path):
    lines = [a_line(reports), a_line(reports, "selector", without="goal", scores=(0.0, 0.25))]
    for line in lines:
        table.write_line(line, tmp_path / "a" / "lines.jsonl")
    assert reports.read_lines(tmp_path / "a" / "lines.jsonl") == lines


def test_what_an_interrupted_run_left_half_written_is_passed_over(reports, table, tmp_path):
    path, line = tmp_path / "lines.jsonl", a_line(reports)
    path.write_text(line.to_json()[:50], encoding="utf-8")
    table.write_line(line, path)
    assert reports.read_lines(path) == [line]
    assert reports.read_lines(tmp_path / "absent.jsonl") == []


def test_tables_name_each_variant_once_and_average_games_alike(reports):
    lines = [a_line(reports, game="coin"), a_line(reports, game="twc", scores=(1.0, 1.0))]
    lines += [a_line(reports, "selector", without="goal"), a_line(reports, "selector", stored=10)]
    text = reports.report(lines)
    assert text.count("| random | 0.750 ") == 1
    assert text.count("| selector, without goal | 0.500 ") == 1
    assert "| selector |" not in reports.summary_table(lines)


def test_a_curve_has_a_point_for_each_amount_that_was_learned_from(reports):
    lines = [a_line(reports, "selector", stored=count, scores=(0.0, count / 30)) for count in (0, 10)]
    lines += [a_line(reports, "selector", scores=(1.0, 1.0)), a_line(reports, "random")]
    (points,) = reports.curves(lines, "trajectories").values()
    assert {at: one.value for at, one in points.items()} == pytest.approx({0: 0.0, 10: 1 / 6, 30: 1.0})


def test_a_curve_compares_only_games_that_have_all_of_its_points(reports):
    lines = [a_line(reports, "selector", stored=count, scores=(0.0, 0.0)) for count in (0, 10)]
    lines += [a_line(reports, "selector", "twc", stored=10, scores=(1.0, 1.0))]
    (points,) = reports.curves(lines, "trajectories").values()
    assert {at: one.value for at, one in points.items()} == {0: 0.0, 10: 0.0}
    assert reports.curves([*lines[1:], a_line(reports, "selector", "twc", stored=20)], "trajectories") != {}
    assert reports.curves([lines[0], lines[2]], "trajectories") == {}


def test_figures_are_written_where_they_are_asked_for(reports, tmp_path):
    lines = [a_line(reports, "selector", stored=count) for count in (0, 10)] + [a_line(reports)]
    written = reports.draw(lines, tmp_path / "figures")
    assert [path.suffix for path in written] == [".png", ".png"]
    assert all(path.stat().st_size > 1000 for path in written)


def test_a_condition_that_means_nothing_to_an_agent_is_run_once(table):
    arguments = ["--games", "coin", "--seeds", "2", "--experience", "own,shuffled", "--curve", "0,10", "--without"]
    options = table.parse([*arguments, "goal,failures", "--environment-steps", "100,200"])
    counts = Counter(one.agent for one in table.conditions(options))
    assert counts["random"] == counts["gold"] == counts["selector without experience"] == 2
    assert counts["DRRN"] == counts["GRPO online"] == 2 * 2
    assert counts["replay"] == counts["behaviour cloning"] == 2 * 5
    assert counts["selector"] == counts["selector with policy"] == 2 * 6
    assert {one.fold for one in table.conditions(options)} == {"dev"}


def test_what_is_not_known_is_refused_with_what_is(table, capsys):
    with pytest.raises(SystemExit):
        table.parse(["--without", "luck"])
    assert "goal, state, order" in capsys.readouterr().err


def a_condition(table, reports, agent, **condition):
    made = reports.Condition("textworld", "ball", agent, 0, train=8, tests=6, max_steps=6, collect_steps=6)
    return replace(made, **condition)


@pytest.fixture
def bench(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = table.parse(["--games", "ball,cube", "--updates", "2", "--quiet"])
    return table.Bench(Corridor(), options, lambda phase, done, total: None)


def test_every_agent_that_needs_no_torch_runs_and_gold_is_the_best_of_them(table, reports, bench):
    slow = ("clone", "drrn", "selector-live", "selector-policy")
    quick = [name for name in table.KINDS if name not in slow and not name.startswith("grpo")]
    lines = {name: bench.run(a_condition(table, reports, table.KINDS[name].name)) for name in quick}
    assert {len(line.tasks) for line in lines.values()} == {6}
    assert lines["gold"].values("success").tolist() == [1.0] * 6
    assert lines["nothing"].values("score").tolist() == [0.0] * 6
    assert lines["selector"].values("score").mean() > lines["selector-empty"].values("score").mean()
    assert (lines["random"].trajectories, lines["gold"].trajectories) == (0, 0)
    assert lines["replay"].trajectories == lines["selector"].trajectories > 8


def test_experience_is_collected_once_and_less_of_it_is_its_beginning(table, reports, bench):
    condition = a_condition(table, reports, "replay")
    everything = bench.memory(condition)
    resets = bench._world.resets
    assert bench.memory(replace(condition, stored=5)) == everything[:5]
    again = table.Bench(bench._world, bench._options, bench._tell)
    assert again.memory(condition) == everything
    assert bench._world.resets == resets


def test_experience_is_of_the_games_that_are_asked_for(table, reports, bench):
    def games(experience):
        memory = bench.memory(a_condition(table, reports, "replay", experience=experience))
        return {one.task.task_id.partition("/")[0] for one in memory}

    assert games("own") == {"ball"}
    assert games("held-out") == {"cube"}
    assert games("pooled") == {"ball", "cube"}


def test_without_failures_only_successes_are_learned_from(table, reports, bench):
    condition = a_condition(table, reports, "replay")
    left = bench.memory(replace(condition, without="failures"))
    assert left == tuple(one for one in bench.memory(condition) if one.success)


def test_live_steps_are_counted_for_agents_that_learn_by_acting(table, reports, bench):
    line = bench.run(a_condition(table, reports, "DRRN", budget=60))
    assert (line.environment_steps, line.trajectories) == (60, 0)


def test_a_selector_on_its_own_finds_out_what_to_do_and_goes_on_with_what_it_has(table, reports, bench, live):
    line = bench.run(a_condition(table, reports, "selector on its own", budget=200))
    assert 200 <= line.environment_steps < 200 + 20
    assert line.trajectories == 0
    assert line.values("success").mean() > 0.8
    world, store = Corridor(), TrajectoryStore(":memory:")
    tasks = world.tasks("ball", "train", 9)
    assert 30 <= live.learn_live(world, tasks, store, budget=30, max_steps=9) < 39
    kept = [one.trajectory_id for one in store.trajectories()]
    assert 60 <= live.learn_live(world, tasks, store, budget=60, max_steps=9) < 69
    assert [one.trajectory_id for one in store.trajectories()][: len(kept)] == kept


@pytest.mark.slow
def test_policies_are_trained_from_what_was_stored_and_by_acting(table, reports, bench):
    for name in ("clone", "grpo-offline", "selector-policy", "grpo-online", "grpo-both"):
        kind = table.KINDS[name]
        is_live = "budget" in kind.reads
        line = bench.run(a_condition(table, reports, kind.name, budget=200 if is_live else 0))
        assert (line.note, len(line.tasks)) == ("", 6)
        assert (line.environment_steps > 0) == is_live


def test_a_policy_of_too_little_experience_stays_untrained_and_says_so(table, reports, bench):
    line = bench.run(a_condition(table, reports, "behaviour cloning", stored=0))
    assert line.note
    assert isinstance(line.tasks[0].score, float)


@pytest.mark.parametrize("arguments", [[], ["--environment", "scienceworld"], ["--quick"]])
def test_whatever_is_asked_for_can_be_sent_to_another_process(table, arguments):
    assert len(ForkingPickler.dumps(table.parse(arguments))) > 0
