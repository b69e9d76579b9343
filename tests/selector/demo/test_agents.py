"""The baseline agents and the engine's, in a two-room world."""

import numpy as np
import pytest

from selector.demo.agents import RandomAgent, ReplayAgent, most_alike
from selector.demo.collect import CollectSettings, collect
from selector.demo.compare import baselines
from selector.demo.engine_agent import EngineAgent
from selector.demo.knn import FreshKnnAgent, StepKnnAgent
from selector.demo.rollout import roll_out
from selector.demo.wording import parse_action
from selector.episode import Episode
from selector.errors import EpisodeFinished
from selector.feedback import GUIDED
from selector.records import Decision, RankedCandidate
from trajstore.experience import past_step
from trajstore.schema import Task


@pytest.fixture
def memory(two_rooms):
    return list(collect(two_rooms, two_rooms.tasks("chest", "train", 12), CollectSettings()))


class Alphabetical:
    """A host of episodes that always chooses the first action in the alphabet, or abstains."""

    def __init__(self, *, abstains=False):
        self.abstains = abstains
        self.reports = []

    def remembered(self, step):
        return past_step(step)

    def goal_similarities(self, task):
        return np.zeros(0, np.float32)

    def plan(self, episode_id):
        return GUIDED

    def take_step(self, report):
        pass

    def decide(self, situation, goals, plan):
        ordered = sorted(situation.candidates, key=lambda one: one.text)
        ranked = tuple(RankedCandidate(one, 1 / len(ordered), (0.0, 1.0), 0.0) for one in ordered)
        chosen = None if self.abstains else ordered[0]
        return Decision("id", chosen, "defer" if self.abstains else "follow", 1.0, ranked, (), ())

    def close_episode(self, report):
        self.reports.append(report)
        return ""


def engine_agent(host):
    return EngineAgent(lambda task: Episode(host, task, ()), seed=1)


def test_every_agent_chooses_among_what_is_offered(two_rooms, memory):
    agents = (*baselines(memory, 0), engine_agent(Alphabetical()), engine_agent(Alphabetical(abstains=True)))
    for agent in agents:
        for task in two_rooms.tasks("chest", "test", 3):
            steps = []
            roll_out(two_rooms, agent, task, max_steps=15, watch=lambda *step, kept=steps: kept.append(step))
            assert all(chosen in seen.candidates for seen, chosen, _ in steps)


@pytest.mark.parametrize("position", range(4))
def test_every_baseline_does_the_same_again_with_the_same_seed(two_rooms, memory, position):
    task = two_rooms.tasks("chest", "test", 1)[0]
    lengths = {roll_out(two_rooms, baselines(memory, 5)[position], task, max_steps=30).steps for _ in range(3)}
    assert len(lengths) == 1


def test_random_choices_do_not_depend_on_the_tasks_before(two_rooms):
    tasks = two_rooms.tasks("chest", "test", 3)
    agent = RandomAgent(0)
    in_company = [roll_out(two_rooms, agent, task, max_steps=30).steps for task in tasks]
    assert in_company[2] == roll_out(two_rooms, RandomAgent(0), tasks[2], max_steps=30).steps


def test_replay_succeeds_where_a_stored_path_fits(two_rooms):
    gold = list(collect(two_rooms, two_rooms.tasks("chest", "train", 2), CollectSettings(detours=0, random=0)))
    for task in two_rooms.tasks("chest", "test", 4):
        assert roll_out(two_rooms, ReplayAgent(gold), task, max_steps=4).success


def test_replay_learns_nothing_from_failures(two_rooms, memory):
    failures = [trajectory for trajectory in memory if not trajectory.success]
    task = two_rooms.tasks("chest", "test", 1)[0]
    replayed = roll_out(two_rooms, ReplayAgent(failures, seed=2), task, max_steps=9)
    assert replayed.steps == roll_out(two_rooms, RandomAgent(2), task, max_steps=9).steps


def test_an_action_that_is_not_valid_is_replaced_by_the_most_alike():
    offered = [parse_action(text) for text in ("open door", "open blue chest", "take key")]
    assert most_alike("open red chest", offered, np.random.default_rng(0)).text == "open blue chest"
    assert most_alike("open door", offered, np.random.default_rng(0)).text == "open door"


@pytest.mark.parametrize("kind", [StepKnnAgent, FreshKnnAgent])
def test_knn_follows_the_steps_of_gold_paths(two_rooms, kind):
    gold = list(collect(two_rooms, two_rooms.tasks("chest", "train", 40), CollectSettings(detours=0, random=0)))
    for task in two_rooms.tasks("chest", "test", 4):
        assert roll_out(two_rooms, kind(gold), task, max_steps=6).success


def test_knn_without_memory_still_acts(two_rooms):
    task = two_rooms.tasks("chest", "test", 1)[0]
    assert roll_out(two_rooms, StepKnnAgent([]), task, max_steps=3).steps >= 1


def test_knn_without_repeats_gets_out_of_a_loop_that_holds_plain_knn(two_rooms):
    gold = list(collect(two_rooms, two_rooms.tasks("chest", "train", 20), CollectSettings(detours=0, random=0)))
    only_looking = [
        type(one)(task=one.task, steps=tuple(_as_look(step) for step in one.steps), success=True) for one in gold
    ]
    task = two_rooms.tasks("chest", "test", 2)[0]
    assert not roll_out(two_rooms, StepKnnAgent(only_looking), task, max_steps=60).success
    tried = []
    roll_out(
        two_rooms,
        FreshKnnAgent(only_looking),
        task,
        max_steps=60,
        watch=lambda _, chosen, __: tried.append(chosen.text),
    )
    assert tried.count("look around") == len(tried)  # nothing else has votes


def _as_look(step):
    return type(step)(index=step.index, tool="look around", state=step.state, candidates=(parse_action("look around"),))


def test_the_engine_is_told_of_every_step_and_of_the_end(two_rooms):
    host = Alphabetical()
    agent = engine_agent(host)
    task = two_rooms.tasks("chest", "test", 1)[0]
    rollout = roll_out(two_rooms, agent, task, max_steps=5)
    trajectory = host.reports[0].trajectory
    assert len(trajectory.steps) == len(agent.steps) == rollout.steps == 5
    assert (trajectory.success, trajectory.reward) == (rollout.success, rollout.reward)
    assert [step.after.observation for step in agent.steps] == [step.observation for step in trajectory.steps]


def test_where_the_engine_abstains_a_random_valid_action_is_taken(two_rooms):
    agent = engine_agent(Alphabetical(abstains=True))
    rollout = roll_out(two_rooms, agent, two_rooms.tasks("chest", "test", 1)[0], max_steps=8)
    assert agent.abstentions == rollout.steps
    assert all(step.decision.source == "defer" and step.chosen.tool for step in agent.steps)


def test_an_engine_agent_out_of_turn_is_refused(two_rooms):
    agent = engine_agent(Alphabetical())
    seen = two_rooms.reset(Task("", "chest/0"))
    with pytest.raises(EpisodeFinished, match="begin"):
        agent.choose(seen)
    agent.begin(Task("", "chest/0"))
    with pytest.raises(EpisodeFinished, match="follow choose"):
        agent.observe(two_rooms.step(seen.candidates[0]))
