"""Laws of corroboration: a lone source loses nothing, a flood gains little, and who is forgotten is forgotten."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_worlds import at, attempt, coloured_presses

from selector import Selector, SelectorConfig
from selector.corroboration import Claims, CorroborationConfig, balanced, vouched
from selector.errors import SelectorUsageError
from trajstore.retriever import RetrieverConfig
from trajstore.schema import Judge, Trajectory
from trajstore.store import TrajectoryStore

CONFIG = CorroborationConfig()
RULES = (vouched, balanced)


@st.composite
def some_claims(draw: st.DrawFn, *, sources: int = 5) -> Claims:
    count = draw(st.integers(1, 12))

    def column(values: st.SearchStrategy[float]) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=count, max_size=count)))

    weights, arms = column(st.floats(0.0, 3.0)).astype(float), column(st.integers(0, 3))
    return Claims(weights, arms, column(st.integers(0, sources - 1)), column(st.booleans()).astype(bool))


@pytest.mark.parametrize("rule", RULES)
@given(claims=some_claims(), ratio=st.floats(0.0, 10.0))
def test_no_claim_ever_counts_for_more_than_it_weighs(rule, claims: Claims, ratio: float):
    found = rule(claims, ratio, CONFIG)
    assert ((found >= 0.0) & (found <= claims.weights_N + 1e-12)).all()


@pytest.mark.parametrize("rule", RULES)
@given(claims=some_claims(sources=2), ratio=st.floats(0.0, 10.0))
def test_what_is_believed_of_two_sources_is_never_held_down(rule, claims: Claims, ratio: float):
    found = rule(claims, ratio, CONFIG)
    assert found[claims.believed_N] == pytest.approx(claims.weights_N[claims.believed_N])


@pytest.mark.parametrize("rule", RULES)
@given(claims=some_claims())
def test_where_nobody_is_believed_nothing_is_held_down(rule, claims: Claims):
    alone = replace(claims, believed_N=np.zeros(len(claims.weights_N), bool))
    assert rule(alone, np.inf, CONFIG) == pytest.approx(claims.weights_N)


@pytest.mark.parametrize("rule", RULES)
@given(claims=some_claims(), ratio=st.floats(0.0, 10.0))
def test_what_is_not_believed_counts_at_most_what_is_believed_of_its_arm_allows(rule, claims: Claims, ratio: float):
    found = rule(claims, ratio, CONFIG)
    for arm in set(claims.arms_N.tolist()):
        mine = claims.arms_N == arm
        believed, other = found[mine & claims.believed_N].sum(), found[mine & ~claims.believed_N].sum()
        assert other <= (1.0 + ratio) * (believed + CONFIG.floor) + 1e-9


@pytest.mark.parametrize("rule", RULES)
@given(claims=some_claims(), seed=st.integers(0, 99))
def test_the_order_of_claims_does_not_matter(rule, claims: Claims, seed: int):
    order = np.random.default_rng(seed).permutation(len(claims.weights_N))
    shuffled = Claims(
        *(values[order] for values in (claims.weights_N, claims.arms_N, claims.sources_N, claims.believed_N))
    )
    assert rule(shuffled, 1.0, CONFIG) == pytest.approx(rule(claims, 1.0, CONFIG)[order])


def test_one_source_does_not_outvote_three_that_agree():
    weights, sources = np.array([*[1.0] * 50, 1.0, 1.0, 1.5]), np.array([*[9] * 50, 1, 2, 3])
    arms = np.array([*[0] * 50, 1, 1, 1])
    found = vouched(Claims(weights, arms, sources, np.ones(53, bool)), 0.0, CONFIG)
    assert found[arms == 0].sum() == pytest.approx(1.5)
    assert found[arms == 1].sum() == pytest.approx(3.5)


def test_two_that_agree_are_not_enough_to_hold_a_third_down():
    claims = Claims(np.array([9.0, 1.0, 1.0]), np.array([0, 1, 1]), np.array([0, 1, 2]), np.ones(3, bool))
    assert vouched(claims, 0.0, CONFIG).tolist() == claims.weights_N.tolist()


@pytest.mark.parametrize("wrong", [{"sources": 1}, {"floor": -1.0}, {"floor": float("nan")}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]):
    with pytest.raises(SelectorUsageError):
        CorroborationConfig(**wrong)


TOOLS = ("press_red", "press_blue", "never")
SITUATION = at("the lamp is red", *TOOLS)


def from_sources(count: int, *, judge: Judge = "environment") -> list[Trajectory]:
    made = coloured_presses(12)
    return [replace(one, source=f"honest {n % count}", judge=judge, trajectory_id="") for n, one in enumerate(made)]


def flood(tool: str, count: int, *, judge: Judge, sources: int = 1, success: bool = True) -> list[Trajectory]:
    made = attempt(("the lamp is red", tool), success=success)
    return [replace(made, source=f"attacker {n % sources}", judge=judge, agent=f"a{n}") for n in range(count)]


def probabilities(*stored: Trajectory, config: SelectorConfig | None = None) -> dict[str, float]:
    with TrajectoryStore(":memory:") as store:
        store.add_many(stored)
        engine = Selector(store, config).room("default").engine()
        goals = engine.learned.knowledge.goal_similarities(SITUATION)
        return dict(zip(TOOLS, engine.probabilities(SITUATION, goals).tolist(), strict=True))


def test_a_flood_that_judges_itself_is_not_followed():
    honest = from_sources(6)
    for sources in (1, 20):
        found = probabilities(*honest, *flood("never", 60, judge="self", sources=sources))
        assert found["never"] < 0.05
        assert found["press_red"] > 0.5


def test_one_source_with_forged_judges_is_not_followed_against_several():
    assert probabilities(*from_sources(6), *flood("never", 60, judge="environment"))["never"] < 0.1


def test_failures_told_by_the_attacker_alone_do_not_starve_a_good_tool():
    for judge in ("self", "environment"):
        found = probabilities(*from_sources(6), *flood("press_red", 60, judge=judge, success=False))
        assert found["press_red"] == max(found.values())


@pytest.mark.parametrize("judge", ["environment", "test", "human", "self", "llm"])
def test_a_user_with_one_source_loses_nothing(judge: Judge):
    own = from_sources(1, judge=judge)
    assert probabilities(*own) == probabilities(*own, config=SelectorConfig(corroboration=None))


def test_a_forgotten_source_leaves_nothing_behind():
    honest = from_sources(6)
    with TrajectoryStore(":memory:") as store:
        store.add_many([*honest, *flood("never", 40, judge="environment")])
        Selector(store).room("default").engine()
        store.forget(source="attacker 0")
        engine = Selector(store).room("default").engine()
        found = engine.probabilities(SITUATION, engine.learned.knowledge.goal_similarities(SITUATION))
    assert found.tolist() == list(probabilities(*honest).values())


def test_a_flood_does_not_crowd_honest_neighbours_out_of_the_evidence():
    """Every forged state is nearer than any honest one, and there are more of them than the pool holds."""
    honest = [
        replace(attempt((f"the lamp is {colour} today", f"press_{colour}")), source=f"honest {n % 6}", agent=f"a{n}")
        for n in range(80)
        for colour in ("red", "blue", "green")
    ]
    config = SelectorConfig(decisions=50, retrieval=RetrieverConfig(pool=40, nearest=10))
    with TrajectoryStore(":memory:") as store:
        store.add_many([*honest, *flood("never", 100, judge="environment")])
        knowledge = Selector(store, config).room("default").knowledge
        evidence = knowledge.assess(SITUATION, knowledge.goal_similarities(SITUATION)).evidence
    experience = knowledge.experience
    sources = experience.trajectory_column("source")[experience.column("trajectory")[evidence.rows]]
    assert sum(experience.sources.names[number].startswith("honest") for number in sources) >= 5
