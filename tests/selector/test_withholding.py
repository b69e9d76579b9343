"""What an agent is shown of a decision: by mode, by arm, and once guidance has proved worse or may cost too much."""

import json

import pytest
from scipy.stats import binom

from selector import Decision, Selector, SelectorConfig, ToolSpec
from selector.guard import assign
from selector.room import Room
from trajstore.embedding import HashedEmbedder
from trajstore.logbook import DecisionRow, EpisodeRow
from trajstore.store import TrajectoryStore

TASK = "press the button"
TOOLS = [ToolSpec("press"), ToolSpec("pull")]
SMALL = HashedEmbedder(64)
EPISODES = 2000
NEARLY_ALL = 1.0 - 1e-12


def config(**changes: object) -> SelectorConfig:
    """Settings under which one stored step is enough to decide."""
    return SelectorConfig(**{"exploration": 0.1, "minimum_support": 0.0, **changes})


def experienced(store: TrajectoryStore, settings: SelectorConfig) -> Selector:
    """A selector that knows that pressing succeeds."""
    teacher = Selector(store, config(), embedder=SMALL)
    for number in range(3):
        with teacher.episode(f"{TASK} {number}", TOOLS, namespace="default") as episode:
            episode.record("press", state="the lamp is red")
            episode.finish(success=True)
    return Selector(store, settings, embedder=SMALL)


def one_decision(selector: Selector, tool: str = "press") -> Decision:
    """A decision of an episode whose agent then calls a tool and succeeds."""
    with selector.episode(TASK, TOOLS) as episode:
        decision = episode.choose("the lamp is red")
        episode.record(tool)
        episode.finish(success=True)
    return decision


def row_of(store: TrajectoryStore, decision: Decision) -> DecisionRow:
    """The decision as it was logged."""
    return next(row for row in store.logbook.decisions() if row.id == decision.decision_id)


def end_episodes(store: TrajectoryStore, arm: str, count: int, reward: float, *, mode: str = "suggest") -> None:
    """Log episodes of an arm that ended with a reward."""
    for number in range(count):
        name = f"{arm}-{mode}-{reward}-{number}"
        ended = EpisodeRow(
            name, "default", "", None, None, "{}", "finished", 9.0 + number, mode, arm, 0.5, combined=reward
        )
        store.logbook.end_episode(ended)


@pytest.mark.parametrize("mode", ["suggest", "force"])
def test_where_guidance_is_shown_the_decision_names_its_tool(store, mode):
    decision = one_decision(experienced(store, config(mode=mode)))
    assert (decision.mode, decision.arm, decision.proposal) == (mode, "guided", None)
    assert decision.tool in {"press", "pull"}
    assert decision.source in {"follow", "explore"}


@pytest.mark.parametrize(("mode", "reason"), [("shadow", "shadow: decisions are logged"), ("narrow", "narrow: choose")])
def test_where_guidance_is_kept_back_the_decision_only_proposes(store, mode, reason):
    decision = one_decision(experienced(store, config(mode=mode)))
    assert (decision.tool, decision.candidate, decision.source) == (None, None, "defer")
    assert decision.proposal is not None
    assert decision.proposal.tool in {"press", "pull"}
    assert decision.reason.startswith(reason)


@pytest.mark.parametrize("mode", ["shadow", "suggest", "narrow", "force"])
def test_what_is_kept_back_is_logged_with_its_mode_arm_and_exact_probabilities(store, mode):
    decision = one_decision(experienced(store, config(mode=mode)))
    row = row_of(store, decision)
    assert (row.mode, row.arm, row.tool, row.source) == (mode, "guided", decision.tool, decision.source)
    assert row.propensity == decision.propensity
    assert sum(decision.probabilities) == pytest.approx(1.0)
    logged = json.loads(row.probabilities)
    dense = [logged["over"].get(str(place), logged["floor"]) for place in range(len(TOOLS))]
    assert dense == pytest.approx(list(decision.probabilities))
    assert store.logbook.episode(row.episode).mode == mode


@pytest.mark.parametrize("mode", ["shadow", "narrow"])
def test_a_step_after_a_decision_that_was_kept_back_has_no_propensity(store, mode):
    with experienced(store, config(mode=mode)).episode(TASK, TOOLS) as episode:
        decision = episode.choose("the lamp is red")
        step = episode.record(decision.proposal.tool)
    assert (step.propensity, step.decision_id) == (None, decision.decision_id)


@pytest.mark.parametrize("mode", ["suggest", "narrow", "force"])
def test_a_held_out_episode_is_never_guided(store, mode):
    with experienced(store, config(mode=mode, held_out=NEARLY_ALL)).episode(TASK, TOOLS) as episode:
        decision = episode.choose("the lamp is red")
    assert decision.arm == assign(episode.episode_id, NEARLY_ALL, "default").arm == "held_out"
    assert (decision.tool, decision.source) == (None, "defer")
    assert decision.proposal is not None
    assert decision.reason.startswith("held out: ")
    assert (row_of(store, decision).arm, row_of(store, decision).mode) == ("held_out", mode)
    assert store.logbook.episode(episode.episode_id).arm == "held_out"


def plans(room: Room) -> list[str]:
    """The arm of every one of many episodes."""
    return [room.plan(f"episode {number}").assignment.arm for number in range(EPISODES)]


def is_near(count: int, share: float) -> bool:
    """Whether a count of many episodes is within what chance allows around a share; wrong once in 500,000 times."""
    low, high = binom.ppf([1e-6, 1.0 - 1e-6], EPISODES, share)
    return bool(low <= count <= high)


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_once_guidance_proved_better_the_share_of_held_out_episodes_is_near_the_fraction(store, fraction):
    end_episodes(store, "guided", 100, 1.0)
    end_episodes(store, "held_out", 100, 0.0)
    room = Selector(store, config(held_out=fraction), embedder=SMALL).room("default")
    assert is_near(plans(room).count("held_out"), fraction)


def test_before_anything_is_known_of_either_arm_half_of_the_episodes_are_held_out(store):
    room = Selector(store, config(held_out=0.1), embedder=SMALL).room("default")
    assert is_near(plans(room).count("held_out"), 0.5)


def test_the_worse_guidance_looks_the_fewer_episodes_are_guided_but_never_none(store):
    counts = []
    for reward in (0.9, 0.5, 0.1):
        end_episodes(store, "guided", 1, reward)
        end_episodes(store, "held_out", 2, 1.0 - reward)
        counts.append(plans(Selector(store, config(held_out=0.1), embedder=SMALL).room("default")).count("guided"))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] > 0


def test_every_process_holds_out_the_same_episodes_and_each_namespace_its_own(store):
    settings = config(held_out=0.5)
    first, second = (Selector(store, settings, seed=seed, embedder=SMALL) for seed in (0, 1))
    assert plans(first.room("x")) == plans(second.room("x"))
    assert plans(first.room("x")) != plans(first.room("y"))


def test_without_a_fraction_nothing_is_held_out(store):
    assert set(plans(Selector(store, config(), embedder=SMALL).room("default"))) == {"guided"}


@pytest.fixture
def harmed(store: TrajectoryStore) -> Selector:
    """Guided episodes have failed, unaided ones have not."""
    selector = experienced(store, config())
    end_episodes(store, "guided", 40, 0.0)
    end_episodes(store, "held_out", 40, 1.0)
    return selector


def test_guidance_stops_for_good_once_guided_episodes_are_clearly_worse_and_says_why(harmed, store):
    decision = one_decision(harmed)
    assert (decision.tool, decision.mode, decision.source) == (None, "shadow", "defer")
    assert decision.reason.startswith("guidance is stopped: guidance is worse than none, fall back to shadow: ")
    end_episodes(store, "guided", 400, 1.0, mode="force")
    assert one_decision(harmed).reason == decision.reason


def test_whoever_opens_the_store_next_does_not_guide_either(harmed, store):
    assert Selector(store, config(mode="force"), embedder=SMALL).room("default").plan("any").mode == "shadow"


def test_episodes_that_ran_in_shadow_say_nothing_of_guidance(store):
    selector = experienced(store, config())
    end_episodes(store, "guided", 40, 0.0, mode="shadow")
    end_episodes(store, "held_out", 40, 1.0)
    room = selector.room("default")
    room.keep_up()
    assert (room.feedback.guard.guided.episodes, room.feedback.guard.held_out.episodes) == (3, 40)
    assert (room.plan("any").mode, room.plan("any").withheld) == ("suggest", "")


def test_a_few_bad_episodes_are_not_enough_to_stop_guidance(store):
    end_episodes(store, "guided", 2, 0.0)
    end_episodes(store, "held_out", 2, 1.0)
    assert guided(store, None)


def guided(store: TrajectoryStore, allowance: float | None) -> bool:
    """Whether a next episode would be guided."""
    room = Selector(store, config(allowance=allowance), embedder=SMALL).room("default")
    return not room.plan("any").withheld


def test_with_an_allowance_guidance_begins_once_the_agent_has_earned_what_it_may_cost(store):
    assert not guided(store, 0.1)
    end_episodes(store, "guided", 2, 0.5, mode="shadow")
    assert not guided(store, 0.1)
    end_episodes(store, "held_out", 20, 0.5)
    assert guided(store, 0.1)
    assert not guided(store, 0.0)


def test_without_an_allowance_there_is_no_such_condition(store):
    assert guided(store, None)


def test_guidance_that_used_up_its_allowance_stops_and_is_shown_again_once_the_agent_earned_more(store):
    end_episodes(store, "held_out", 20, 0.5)
    end_episodes(store, "guided", 3, 0.2)
    assert not guided(store, 0.1)
    end_episodes(store, "guided", 50, 0.6, mode="shadow")
    assert guided(store, 0.1)


def test_a_decision_withheld_for_the_allowance_says_so_and_is_logged_as_shadow(store):
    decision = one_decision(Selector(store, config(allowance=0.1), embedder=SMALL))
    assert decision.reason.startswith("guidance could cost more than the allowance")
    assert (decision.mode, row_of(store, decision).mode) == ("shadow", "shadow")
