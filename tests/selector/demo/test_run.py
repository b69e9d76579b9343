"""The demo from end to end, in the two-room world and as a command."""

import json
from dataclasses import dataclass, replace

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("matplotlib", reason="the report's pictures need matplotlib")
pytest.importorskip("jinja2", reason="the report needs jinja2")

from selector.demo.commands import demo
from selector.demo.records import DemoReport, DemoSettings
from selector.demo.run import demonstrate
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

SETTINGS = DemoSettings(games=("chest",), train_seeds=8, test_seeds=4, max_steps=12)


@dataclass(frozen=True)
class Ran:
    """A demo that was run, with what the store held and what was heard."""

    report: DemoReport
    stored: list[Trajectory]
    heard: list[tuple[str, int, int]]


def run(world, folder):
    heard = []
    settings = replace(SETTINGS, out=folder).completed()
    with TrajectoryStore(":memory:") as store:
        report = demonstrate(settings, world, store, on_progress=lambda *said: heard.append(said))
        return Ran(report, list(store.trajectories()), heard)


@pytest.fixture(scope="module")
def ran(shared_two_rooms, tmp_path_factory):
    return run(shared_two_rooms, tmp_path_factory.mktemp("demo"))


def test_the_engine_learns_the_two_rooms_and_the_report_says_so(ran):
    table = ran.report.table
    assert table.row("engine", "chest").success.value == 1.0
    assert table.row("engine", "chest").steps_to_success < table.row("random", "chest").steps_to_success
    assert "engine" in ran.report.path.read_text(encoding="utf-8")
    assert ran.report.example.success


def test_episodes_of_the_comparison_are_not_stored(ran):
    assert {one.task.task_id for one in ran.stored} == {f"chest/{seed}" for seed in range(SETTINGS.train_seeds)}
    assert sum(one.trajectories for one in ran.report.collected) >= len(ran.stored)


def test_test_tasks_are_none_of_the_training_tasks(ran):
    trained = {one.task.task_id for one in ran.stored}
    assert not trained & {rollout.task_id for rollout in ran.report.rollouts}


def test_every_agent_meets_the_same_tasks(ran):
    rollouts, agents = ran.report.rollouts, ran.report.table.agents
    assert len(agents) == 5
    assert len({tuple(one.task_id for one in rollouts if one.agent == agent) for agent in agents}) == 1


def test_the_demo_does_the_same_again(ran, shared_two_rooms, tmp_path):
    again = run(shared_two_rooms, tmp_path)
    assert [_outcome(one) for one in again.report.rollouts] == [_outcome(one) for one in ran.report.rollouts]


def _outcome(rollout):
    return rollout.agent, rollout.task_id, rollout.success, rollout.steps


def test_every_phase_tells_how_far_it_is(ran):
    phases = list(dict.fromkeys(phase for phase, _, _ in ran.heard))
    assert [phase for phase in phases if phase != "embedding"] == ["collect", "learning", "act", "curve"]
    for phase in ("collect", "act", "curve"):
        done, total = [said[1:] for said in ran.heard if said[0] == phase][-1]
        assert done == total > 0


def test_the_learning_curve_begins_with_nothing_and_ends_with_everything(ran):
    curve = ran.report.curve
    assert [point.trajectories for point in curve] == [0, 10, len(ran.stored)]
    assert {point.table.agents for point in curve} == {(ran.report.rival, "engine")}
    assert {row.tasks for point in curve for row in point.table.rows} == {ran.report.settings.curve_seeds}


def test_the_last_point_of_the_curve_is_the_comparison_itself(ran):
    last = ran.report.curve[-1].table.row("engine", "chest")
    assert last.success.value == ran.report.table.row("engine", "chest").success.value


def test_with_experience_the_engine_does_more_than_with_none(ran):
    first, *_, last = (point.table.row("engine", "chest") for point in ran.report.curve)
    assert first.success.value < last.success.value or first.steps_to_success > last.steps_to_success


def test_nothing_is_pruned_of_what_has_too_little_evidence(ran):
    pruning = ran.report.pruning
    assert 0 <= pruning.judged <= pruning.tried
    assert all(one.counts >= pruning.evidence for one in pruning.tools)


def test_what_was_left_out_is_no_more_than_was_decided(ran):
    assert all(0 < one.decisions <= min(one.candidates, ran.report.decisions) for one in ran.report.left_out)


def test_settings_of_the_engine_that_are_not_its_defaults_are_told(ran):
    assert ran.report.engine_settings["record_episodes"] is False
    assert "prior_strength" not in ran.report.engine_settings


@pytest.fixture
def command():
    pytest.importorskip("textworld_express", reason="TextWorld Express comes with trajstore[demo]")
    application = typer.Typer()
    application.command()(demo)
    return lambda *words: CliRunner().invoke(application, [*words], catch_exceptions=False)


@pytest.mark.slow
def test_the_command_prints_json_alone_on_stdout_and_a_second_run_replaces_the_first(command, tmp_path):
    words = (
        "--game",
        "coin",
        "--train-seeds",
        "3",
        "--test-seeds",
        "2",
        "--curve-seeds",
        "1",
        "--max-steps",
        "8",
        "--out",
        str(tmp_path),
        "--json",
    )
    for _ in range(2):
        result = command(*words)
        assert result.exit_code == 0
        told = json.loads(result.stdout)
        assert {row["agent"] for row in told["table"]} >= {"engine", "random", "replay", "step kNN"}
        assert told["report"] == str(tmp_path / "report.html")
        assert told["curve"][0]["trajectories"] == 0
    with TrajectoryStore(tmp_path / "demo.db") as store:
        assert len({one.task.task_id for one in store.trajectories()}) == 3


def test_the_command_prints_a_table_and_where_the_report_is(command, tmp_path):
    result = command(
        "--game", "coin", "--train-seeds", "2", "--test-seeds", "1", "--max-steps", "4", "--out", str(tmp_path)
    )
    assert "engine" in result.stdout
    assert "report.html" in result.stdout
    assert "Played 5 episodes on unseen tasks in" in result.stderr
