"""The whole trainer, in a world whose optimum is known: a button for each colour of a lamp."""

import json
import signal
from dataclasses import replace
from statistics import mean

import pytest
import torch
from tiny_policies import Breaking, Lamps, accuracy, logged_presses, tasks, untrained

from grpo.collector import CollectionConfig
from grpo.config import GRPOConfig
from grpo.errors import TrainingFailed, TrainingUsageError
from grpo.live_tasks import LiveTasks
from grpo.protocols import Transition
from grpo.tool_policy import ToolPolicy
from grpo.trainer import GRPOTrainer, device_named, fingerprint
from trajstore.schema import Candidate, Task

TASKS = LiveTasks(tasks(20), tasks(6, "asked"), tasks(10, "unseen"))
LIVE = GRPOConfig(
    updates=16,
    groups=8,
    group_size=4,
    minibatch=64,
    epochs=2,
    learning_rate=0.02,
    warmup=1,
    validate_every=4,
    device="cpu",
)
LOGGED = GRPOConfig(updates=12, groups=16, minibatch=64, epochs=1, learning_rate=0.01, validate_every=4, device="cpu")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def live(config: GRPOConfig = LIVE, policy: ToolPolicy | None = None, **settings) -> GRPOTrainer:
    settings = {"environment": Lamps(), "tasks": TASKS} | settings
    return GRPOTrainer(policy or untrained(), config, **settings)


def logged(config: GRPOConfig = LOGGED, **settings) -> GRPOTrainer:
    settings = {"trajectories": logged_presses(24)} | settings
    return GRPOTrainer(untrained(), config, **settings)


def equal(first: ToolPolicy, second: ToolPolicy) -> bool:
    return all((first.weights[name] == second.weights[name]).all() for name in first.weights)


def test_live_rollouts_teach_the_right_buttons_on_tasks_that_were_not_trained_on():
    reports = [live(replace(LIVE, seed=seed)).train() for seed in range(6)]  # how far it comes depends on the seed
    before, after = ([one.metrics[when]["average_reward"]["value"] for one in reports] for when in ("before", "after"))
    assert max(before) < 0.6
    assert min(after) > 0.8
    assert mean(after) > 0.9
    assert all(one.metrics["reward_gain"]["low"] > 0.2 for one in reports)
    assert mean(accuracy(one.policy) for one in reports) > 0.8
    report = reports[0]
    assert (report.updates, report.trajectories) == (16, 16 * 32)
    assert 0.0 <= report.monotonicity <= 1.0


@pytest.mark.slow
def test_logs_of_a_middling_agent_teach_better_than_it_did():
    report = logged(trajectories=logged_presses(60)).train()
    gain = report.metrics["gain"]
    assert gain["value"]["low"] > 0.0
    assert gain["at1"]["value"] >= 0.0
    assert accuracy(report.policy) > 0.7
    assert report.metrics["estimated_propensities"] == 0.0
    assert sum(report.metrics["trajectories"].values()) == 240


@pytest.mark.slow
def test_logs_without_propensities_teach_as_well():
    report = logged(trajectories=logged_presses(60, propensities=False)).train()
    assert report.metrics["estimated_propensities"] == 1.0
    assert report.metrics["gain"]["value"]["value"] > 0.0


@pytest.mark.slow
def test_live_rollouts_and_logs_train_together():
    report = live(replace(LIVE, replay=0.5), trajectories=logged_presses(40)).train()
    assert report.metrics["after"]["average_reward"]["value"] > 0.8
    assert report.trajectories == 16 * 16


@pytest.mark.parametrize("make", [live, pytest.param(logged, marks=pytest.mark.slow)])
def test_the_same_seed_trains_the_same_policy(make):
    config = replace(LIVE if make is live else LOGGED, updates=3)
    assert equal(make(config).train().policy, make(config).train().policy)


@pytest.mark.parametrize(
    ("make", "stop"), [(live, 1), (live, 4), (live, 6), pytest.param(logged, 4, marks=pytest.mark.slow)]
)
def test_a_stopped_run_goes_on_to_the_same_bit(tmp_path, make, stop):
    config = replace(LIVE if make is live else LOGGED, updates=8, validate_every=3)
    straight = make(config, folder=tmp_path / "straight").train()
    stopped = make(config, folder=tmp_path / "run", should_stop=lambda updates, metrics: updates == stop).train()
    assert (stopped.updates, stopped.was_stopped) == (stop, True)
    resumed = make(config, folder=tmp_path / "run").train()
    assert equal(straight.policy, resumed.policy)
    assert (resumed.updates, resumed.trajectories, resumed.was_stopped) == (8, straight.trajectories, False)
    assert resumed.metrics == straight.metrics
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("straight", "run")]
    assert logs[0] == logs[1]


def test_an_interrupt_saves_what_was_reached(tmp_path):
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == 5:
            signal.raise_signal(signal.SIGINT)

    report = live(folder=tmp_path / "run", on_progress=interrupt).train()
    assert (report.was_stopped, report.updates) == (True, 5)
    resumed = live(folder=tmp_path / "run").train()
    assert equal(resumed.policy, live().train().policy)


def test_a_run_that_is_done_is_not_done_again(tmp_path):
    config = replace(LIVE, updates=4)
    first = live(config, folder=tmp_path).train()
    again = live(config, folder=tmp_path).train()
    assert (again.updates, again.trajectories) == (4, first.trajectories)
    assert equal(first.policy, again.policy)


def test_the_best_policy_is_a_file_that_a_selector_can_load(tmp_path):
    report = live(replace(LIVE, updates=4), folder=tmp_path).train()
    loaded = ToolPolicy.load(report.checkpoint, embedder=untrained().encoder.embedder)
    assert equal(loaded, report.policy)
    assert loaded.version == report.policy.version


def test_every_update_leaves_a_line(tmp_path):
    live(replace(LIVE, updates=4), folder=tmp_path).train()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [1, 2, 3, 4]
    assert {"loss", "ess", "clip_ratio_low", "clip_ratio_high", "kl", "entropy", "grad_norm", "reward"} <= set(lines[0])
    assert "validation" in lines[3]


def test_training_ends_where_nothing_gets_better():
    config = replace(LIVE, updates=60, validate_every=1, patience=2, learning_rate=1e-9)
    report = live(config, limits=CollectionConfig()).train()
    assert report.updates < 60


def test_more_patience_lets_an_ended_run_go_on(tmp_path):
    config = replace(LIVE, updates=30, validate_every=1, patience=1, learning_rate=1e-9)
    ended = live(config, folder=tmp_path).train()
    more = live(replace(config, patience=4), folder=tmp_path).train()
    assert ended.updates < more.updates


@pytest.mark.parametrize(("changes", "name"), [({"learning_rate": 0.5}, "learning_rate"), ({"seed": 3}, "seed")])
def test_a_folder_with_a_run_of_other_settings_is_refused_and_left_as_it_is(tmp_path, changes, name):
    config = replace(LIVE, updates=2)
    live(config, folder=tmp_path).train()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(TrainingUsageError, match=f"holds a run with {name} = "):
        live(replace(config, **changes), folder=tmp_path).train()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_a_folder_with_a_run_on_other_trajectories_is_refused(tmp_path):
    config = replace(LOGGED, updates=1)
    logged(config, folder=tmp_path).train()
    with pytest.raises(TrainingUsageError, match="other trajectories"):
        logged(config, folder=tmp_path, trajectories=logged_presses(30, seed=9)).train()


def test_rollouts_that_the_world_spoils_do_not_stop_training():
    some = LiveTasks((*tasks(6), Task("breaks in step"), Task("breaks in reset")), tasks(3, "asked"))
    report = live(replace(LIVE, updates=4), environment=Breaking, tasks=some).train()
    assert report.updates == 4


def test_a_world_that_always_fails_leaves_the_policy_as_it_was():
    some = LiveTasks((Task("breaks in step"),), (Task("breaks in reset"),))
    report = live(replace(LIVE, updates=2), environment=Breaking, tasks=some).train()
    assert report.updates == 2
    assert report.policy.is_untrained


def test_groups_of_one_rollout_teach_nothing_and_break_nothing():
    report = live(replace(LIVE, updates=2, group_size=1)).train()
    assert report.policy.is_untrained


@pytest.mark.slow
def test_logged_groups_of_one_are_compared_with_similar_tasks():
    report = logged(replace(LOGGED, updates=4), trajectories=logged_presses(120, members=1)).train()
    assert report.updates == 4


class Paying(Lamps):
    """Pays the same for every button."""

    def __init__(self, reward: float) -> None:
        super().__init__()
        self._reward = reward

    def step(self, candidate: Candidate) -> Transition:
        return replace(super().step(candidate), reward=self._reward)


@pytest.mark.parametrize("reward", [0.5, float("nan"), float("inf")])
def test_rewards_that_do_not_differ_or_are_no_numbers_teach_nothing(reward):
    report = live(replace(LIVE, updates=2), environment=Paying(reward)).train()
    assert report.policy.is_untrained


@pytest.mark.parametrize(("reward", "success"), [(None, None), (1.0, True)])
def test_logs_whose_rewards_do_not_differ_are_refused(reward, success):
    same = [replace(one, reward=reward, success=success) for one in logged_presses(12)]
    with pytest.raises(TrainingUsageError, match="do not differ"):
        logged(trajectories=same).train()


def test_there_must_be_something_to_train_on(store):
    with pytest.raises(TrainingUsageError, match="there is nothing to train on"):
        GRPOTrainer(untrained())
    with pytest.raises(TrainingUsageError, match="an environment trains on tasks"):
        GRPOTrainer(untrained(), environment=Lamps())
    with pytest.raises(TrainingUsageError, match="holds no trajectory to train on"):
        GRPOTrainer(untrained(), store=store).train()


def test_tasks_to_measure_on_are_not_trained_on():
    with pytest.raises(TrainingUsageError, match="'lamps-0' is trained on and measured on"):
        LiveTasks(tasks(3), tasks(1))
    with pytest.raises(TrainingUsageError, match="validation needs at least one task"):
        LiveTasks(tasks(3), ())


def test_a_device_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    with pytest.raises(TrainingUsageError, match="no CUDA device is there: use auto or cpu"):
        live(replace(LIVE, device="cuda"))
    assert device_named("auto") == "cpu"


def test_a_device_that_nobody_knows_is_refused():
    with pytest.raises(TrainingUsageError, match="device must be auto, cpu or cuda, got 'abacus'"):
        device_named("abacus")


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(TrainingFailed, match="cannot make the folder"):
        live(folder=tmp_path / "run").train()
    assert (tmp_path / "run").read_text() == "mine"


def test_a_fingerprint_tells_trajectories_and_weights_apart():
    trajectories = logged_presses(2)
    known = fingerprint(trajectories, untrained())
    assert fingerprint(trajectories, untrained()) == known
    assert fingerprint(trajectories[1:], untrained()) != known
    assert fingerprint(trajectories, untrained(seed=1)) != known
