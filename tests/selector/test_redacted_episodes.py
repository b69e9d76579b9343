"""Live episodes of a store that hides secrets: the agent gets back what it offered, the store keeps none of it."""

from pathlib import Path

from selector import Candidate, Selector, SelectorConfig
from selector.situation import Situation
from trajstore.redact import PLACEHOLDER
from trajstore.schema import Step, Task, Trajectory
from trajstore.store import TrajectoryStore

SECRET, ADDRESS = "tiger-77-lily", "ann@mail.example.org"
LOGIN = Candidate("login", {"password": SECRET, "user": ADDRESS}, f"login as {ADDRESS}")
LOOK = Candidate("look", {"at": "the door"})


def past(number: int) -> Trajectory:
    step = Step(
        index=0, tool="login", state="locked out", args=dict(LOGIN.args), candidates=(LOGIN, LOOK), outcome="ok"
    )
    return Trajectory(Task(f"let {ADDRESS} in", group=f"g{number}"), (step,), success=True)


def test_the_agent_gets_its_own_candidate_back_and_the_store_keeps_no_secret(tmp_path: Path):
    with TrajectoryStore(tmp_path / "x.db") as store:
        store.add_many(map(past, range(8)))
        selector = Selector(store, SelectorConfig(exploration=0.0))
        with selector.episode(f"let {ADDRESS} in", group=ADDRESS) as episode:
            for _ in range(2):
                decision = episode.choose("locked out", [LOGIN, LOOK])
                episode.record("login", dict(LOGIN.args), f"{ADDRESS} is in with {SECRET}", "ok")
            episode.finish(success=True)
        assert decision.candidate in (LOGIN, LOOK)
        assert {one.candidate.tool: one.candidate for one in decision.ranked} == {"login": LOGIN, "look": LOOK}
        selector.choose(f"let {ADDRESS} in", tools=["login"])
        files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
        kept = [repr(row) for row in store.logbook.decisions()]
    assert not any(value.encode() in content for content in files for value in (SECRET, ADDRESS))
    assert any(PLACEHOLDER.search(row) for row in kept)


def test_stored_and_live_texts_match():
    with TrajectoryStore(":memory:") as store:
        store.add_many(map(past, range(8)))
        selector = Selector(store)
        decision = selector.choose(f"let {ADDRESS} in", "locked out", tools=["login", "look"])
        goals = selector.room("default").goal_similarities(f"let {ADDRESS} in")
    assert decision.evidence
    assert decision.evidence[0].similarity > 0.7
    assert goals.max() > 0.999


def test_a_rule_sees_what_was_offered():
    seen = []

    def rule(situation: Situation, candidate: Candidate) -> str:
        seen.append(candidate)
        return ""

    with TrajectoryStore(":memory:") as store:
        store.add_many(map(past, range(3)))
        with Selector(store, rules=[rule]).episode("t") as episode:
            episode.choose("locked out", [LOGIN, LOOK])
    assert seen == [LOGIN, LOOK]
