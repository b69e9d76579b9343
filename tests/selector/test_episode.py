"""A live episode on a real store: what it records, and what is learned from it."""

import pytest

from selector import Candidate, Episode, Selector, SelectorConfig, ToolSpec
from selector.errors import EpisodeFinished, SelectorUsageError
from trajstore.store import TrajectoryStore

CHAIN = ("login", "search", "book", "pay")
TOOLS = [ToolSpec(name) for name in sorted(CHAIN)]


def live_through(selector: Selector, tools: tuple[str, ...] = CHAIN, *, success: bool | None = True) -> str:
    """An agent that calls these tools whatever is decided, and says nothing of its state."""
    with selector.episode("book a seat", TOOLS) as episode:
        for tool in tools:
            episode.choose()
            episode.record(tool)
        return episode.finish(success=success)


@pytest.fixture
def selector(store: TrajectoryStore) -> Selector:
    return Selector(store, SelectorConfig(exploration=0.0))


@pytest.fixture
def experienced(selector: Selector) -> Selector:
    for _ in range(6):
        live_through(selector)
    return selector


def test_every_step_of_an_episode_is_learned_from_though_it_names_no_state(experienced):
    with experienced.episode("book a seat", TOOLS) as episode:
        for tool in CHAIN:
            assert episode.choose().ranked[0].candidate.tool == tool
            episode.record(tool)


def test_an_episode_is_stored_as_it_happened(selector, store):
    with selector.episode("book a seat", TOOLS, agent="a1", source="shop", group="g", family="f") as episode:
        decision = episode.choose("at the counter")
        episode.record("login", {"user": "u"}, "welcome", "ok", 0.5, error=None)
        identity = episode.finish(success=True, reward=1.0, kpis={"cost_usd": 0.02})
    stored = store.get(identity)
    task = stored.task
    assert (task.text, task.group, task.family) == ("book a seat", "g", "f")
    assert (stored.agent, stored.source) == ("a1", "shop")
    assert (stored.success, stored.reward, dict(stored.kpis), stored.stop_reason) == (
        True,
        1.0,
        {"cost_usd": 0.02},
        "finished",
    )
    (step,) = stored.steps
    assert (step.tool, dict(step.args), step.observation, step.outcome) == ("login", {"user": "u"}, "welcome", "ok")
    assert (step.state, step.reward, step.decision_id) == ("at the counter", 0.5, decision.decision_id)
    assert [candidate.tool for candidate in step.candidates] == sorted(CHAIN)


def test_what_was_chosen_is_recorded_with_its_propensity_and_what_was_not_without(experienced):
    with experienced.episode("book a seat", TOOLS) as episode:
        decision = episode.choose()
        assert decision.tool == "login"
        followed = episode.record("login", {"user": "any arguments"})
        episode.choose()
        other = episode.record("pay")
        unasked = episode.record("book")
    assert followed.propensity == decision.propensity
    assert (other.propensity, other.decision_id is None) == (None, False)
    assert (unasked.propensity, unasked.decision_id, unasked.candidates) == (None, None, ())


def test_the_same_tool_with_other_arguments_is_another_action():
    store = TrajectoryStore(":memory:")
    selector = Selector(store, SelectorConfig(minimum_support=0.0))
    offered = [Candidate("take", {"object": name}) for name in ("coin", "lamp")]
    for _ in range(3):
        with selector.episode("take it") as episode:
            episode.record("take", {"object": "coin"}, state="hall")
            episode.finish(success=True)
    with selector.episode("take it") as episode:
        chosen = episode.choose("hall", offered).candidate
        assert chosen is not None
        other = next(one for one in offered if one != chosen)
        assert episode.record("take", other.args).propensity is None
        chosen = episode.choose("hall", offered).candidate
        assert episode.record("take", chosen.args).propensity is not None
    store.close()


def test_an_episode_left_without_finish_is_censored_and_never_counts_as_failed(selector, store):
    with selector.episode("book a seat", TOOLS) as episode:
        episode.record("login")
    stored = store.get(episode.trajectory_id)
    assert (stored.success, stored.stop_reason) == (None, "censored")


def test_an_agent_that_crashes_leaves_a_censored_episode_and_its_own_error(selector, store):
    episode = selector.episode("book a seat", TOOLS)

    def crash() -> None:
        with episode:
            episode.record("login")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert (store.get(episode.trajectory_id).success, len(store.get(episode.trajectory_id).steps)) == (None, 1)


def test_an_episode_without_steps_is_not_stored(selector, store):
    with selector.episode("book a seat", TOOLS) as episode:
        episode.choose()
        assert episode.finish(success=False) == ""
    assert list(store.trajectories()) == []


def test_where_episodes_are_not_to_be_recorded_none_is(store):
    selector = Selector(store, SelectorConfig(record_episodes=False))
    assert live_through(selector) == ""
    assert list(store.trajectories()) == []


@pytest.mark.parametrize(
    "use", [lambda one: one.choose(), lambda one: one.record("login"), lambda one: one.finish(success=True)]
)
def test_an_episode_that_has_ended_cannot_be_used_again(selector, use):
    with selector.episode("book a seat", TOOLS) as episode:
        episode.finish(success=True)
        with pytest.raises(EpisodeFinished, match=r"has ended; open a new one with Selector\.episode"):
            use(episode)


def test_without_anything_to_choose_from_it_says_so(selector):
    with selector.episode("book a seat") as episode, pytest.raises(SelectorUsageError, match="nothing to choose from"):
        episode.choose("here")


def test_without_experience_every_decision_abstains(selector):
    with selector.episode("book a seat", TOOLS) as episode:
        decision = episode.choose("here")
        assert (decision.tool, decision.source) == (None, "defer")
        assert episode.record("login").propensity is None


def test_failed_episodes_are_kept_and_not_followed(selector, store):
    for _ in range(6):
        live_through(selector, CHAIN[::-1], success=False)
    live_through(selector)
    assert len(list(store.trajectories())) == 7
    with selector.episode("book a seat", TOOLS) as episode:
        assert episode.choose().ranked[0].candidate.tool == "login"


def decisions_of(seed: int) -> list[tuple[str | None, float]]:
    with TrajectoryStore(":memory:") as store:
        selector = Selector(store, SelectorConfig(exploration=0.5), seed=seed)
        for _ in range(3):
            live_through(selector)
        with selector.episode("book a seat", TOOLS) as episode:
            decisions = [episode.choose() for _ in range(8)]
    return [(one.tool, one.propensity) for one in decisions]


def test_the_same_seed_makes_the_same_choices_and_another_seed_others():
    assert decisions_of(1) == decisions_of(1)
    assert decisions_of(1) != decisions_of(2)


async def test_off_the_event_loop_everything_is_the_same(experienced, store):
    async with experienced.episode("book a seat", TOOLS) as episode:
        assert isinstance(episode, Episode)
        for tool in CHAIN:
            decision = await episode.achoose()
            assert decision.ranked[0].candidate.tool == tool
            await episode.arecord(tool, {"n": 1}, "seen", "ok")
        identity = await episode.afinish(success=True, kpis={"turns": 4})
    stored = store.get(identity)
    assert stored.tools == CHAIN
    assert dict(stored.kpis) == {"turns": 4}


async def test_an_asynchronous_episode_left_without_finish_is_censored(selector, store):
    async with selector.episode("book a seat", TOOLS) as episode:
        await episode.arecord("login")
    assert store.get(episode.trajectory_id).stop_reason == "censored"


@pytest.mark.parametrize(("outcome", "has_failed"), [("tool_error", True), ("timeout", True), ("ok", False)])
def test_calls_that_ran_tell_of_the_health_of_their_tool(selector, store, outcome, has_failed):
    with selector.episode("book a seat", TOOLS) as episode:
        episode.record("login", outcome=outcome)
    assert [(call.tool, call.failed) for call in store.logbook.calls("default")] == [("login", has_failed)]


@pytest.mark.parametrize("outcome", ["invalid_args", "unknown_tool", "blocked", "cancelled", "unknown"])
def test_calls_that_never_ran_tell_nothing_of_the_health_of_their_tool(selector, store, outcome):
    with selector.episode("book a seat", TOOLS) as episode:
        for _ in range(20):
            episode.record("login", outcome=outcome)
    assert store.logbook.calls("default") == []
    with selector.episode("book a seat", TOOLS) as episode:
        assert episode.choose().pruned == ()
