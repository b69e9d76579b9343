"""The commands value, tune, pruned and restore: what they print, what they change, and how they refuse."""

from pathlib import Path

import numpy as np
import pytest
from command_line import Ran, trajstore
from tiny_worlds import COLOURS, attempt, coloured_presses

from selector import Selector, SelectorConfig, ToolSpec
from selector.tuned import SETTINGS, save_tuned, tuned_config, values_of
from trajstore.embedding import HashedEmbedder
from trajstore.store import TrajectoryStore

SMALL = HashedEmbedder(64)
TOOLS = [ToolSpec("press"), ToolSpec("pull")]
FAMILIES = 12


def json_of(*words: str | Path) -> dict[str, object]:
    """What a command prints with --json; it must have succeeded and said nothing else."""
    ran = trajstore(*words, "--json")
    assert (ran.exit_code, ran.stderr) == (0, ""), ran.stderr
    found: dict[str, object] = ran.data
    return found


@pytest.fixture
def coloured(store_path: Path) -> Path:
    """A store of task families in which the state names the right tool."""
    with TrajectoryStore(store_path) as store:
        store.set_embedder(SMALL.identity)
        store.add_many(coloured_presses(FAMILIES, length=2))
    return store_path


def live(store: TrajectoryStore, episodes: int, *, held_out: float) -> None:
    """Agents that follow every decision, and pull where none is shown; pulling seldom helps."""
    config = SelectorConfig(minimum_support=0.0, exploration=0.3, held_out=held_out)
    selector, rng = Selector(store, config, seed=1, embedder=SMALL), np.random.default_rng(0)
    for _ in range(episodes):
        with selector.episode("press the button", TOOLS) as episode:
            tool = episode.choose("the lamp is red").tool or "pull"
            episode.record(tool, outcome="ok")
            episode.finish(success=bool(rng.random() < (0.9 if tool == "press" else 0.4)))


@pytest.fixture
def lived(store_path: Path) -> Path:
    """A store with 15 guided episodes, the first of which had nothing to go by, and 5 held-out ones."""
    with TrajectoryStore(store_path) as store:
        live(store, 15, held_out=0.0)
        live(store, 5, held_out=1.0 - 1e-12)
    return store_path


@pytest.fixture
def one_bad(store_path: Path) -> Path:
    """A store in which pulling never helped, so that it is pruned."""
    with TrajectoryStore(store_path) as store:
        store.set_embedder(SMALL.identity)
        store.add_many(
            attempt(
                (f"the lamp is {COLOURS[at // 2 % 2]}", ("pull", "press")[at % 2]), success=at % 2 == 1, family=f"{at}"
            )
            for at in range(80)
        )
    return store_path


def is_refused(ran: Ran, *parts: str, exit_code: int = 2) -> None:
    """One sentence that says these parts, nothing on stdout."""
    assert (ran.exit_code, ran.stdout) == (exit_code, "")
    for part in parts:
        assert part in ran.sentence


@pytest.mark.parametrize("policy", ["engine", "greedy", "uniform", "logged"])
def test_value_prints_every_estimate_with_its_interval_and_what_guidance_brought(lived, policy):
    data = json_of("value", "--db", lived, "--policy", policy)
    assert data["policy"] == policy
    assert {"ips", "snips", "dm", "dr"} <= {one["estimator"].split("(")[0] for one in data["estimates"]}
    for one in data["estimates"]:
        assert {"estimator", "value", "low", "high", "effective_sample_size"} <= one.keys()
        assert one["low"] <= one["value"] <= one["high"]
    assert (data["lift"]["episodes_guided"], data["lift"]["episodes_held_out"]) == (15, 5)
    assert data["decisions"] == 14
    assert data["skipped"] == {"withheld": 5, "abstained": 1, "not_followed": 0, "not_rewarded": 0}
    assert data["guard"]["verdict"] in {"not enough", "not inferior", "inferior"}


def test_value_is_the_same_for_the_same_seed_and_changes_no_log(lived):
    with TrajectoryStore(lived) as store:
        before = (store.logbook.decisions(), store.logbook.episodes(), store.generation)
    assert json_of("value", "--db", lived, "--seed", "3") == json_of("value", "--db", lived, "--seed", "3")
    with TrajectoryStore(lived) as store:
        assert (store.logbook.decisions(), store.logbook.episodes(), store.generation) == before


def test_value_tells_a_person_the_same_in_a_table(lived):
    ran = trajstore("value", "--db", lived, "--policy", "uniform")
    assert ran.exit_code == 0
    assert "value of uniform on" in ran.stdout
    assert "snips" in ran.stdout
    assert "guard: " in ran.stdout + ran.stderr


def test_value_of_a_store_that_never_guided_is_refused_in_one_sentence(coloured):
    is_refused(trajstore("value", "--db", coloured), "no decisions to value", "guide some episodes first")


def test_value_of_another_namespace_is_refused(lived):
    is_refused(trajstore("value", "--db", lived, "--namespace", "nobody"), "no decisions to value")


@pytest.mark.parametrize("command", [["value"], ["tune"], ["pruned"], ["restore", "--tool", "pull"]])
def test_a_store_that_is_not_there_is_refused_and_not_made(command, tmp_path):
    absent = tmp_path / "absent.db"
    ran = trajstore(*command, "--db", absent)
    is_refused(ran, "absent.db", exit_code=1)
    assert not absent.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["value", "--policy", "clairvoyant"],
        ["value", "--seed", "-1"],
        ["tune", "--trials", "1"],
        ["tune", "--trials", "many"],
        ["restore"],
        ["restore", "--tool", "pull", "--cluster", "-2"],
        ["pruned", "--tool", "pull"],
    ],
)
def test_a_mistake_in_the_words_of_a_command_is_refused_in_one_sentence(words, coloured):
    is_refused(trajstore(*words, "--db", coloured))


def test_tune_prints_its_best_settings_and_what_they_brought(coloured):
    data = json_of("tune", "--db", coloured, "--trials", "3")
    assert {"best", "objective_before", "objective_after"} <= data.keys()
    assert data["best"].keys() == {setting.name for setting in SETTINGS}
    assert 0.0 <= data["objective_after"] <= data["objective_before"] <= 2.0
    assert data["is_confirmed"] in {True, False}
    for report in data["tuned"].values():
        assert len(report["trials"]) == 3
        assert report["value"] in [value for value, _ in report["trials"]]


def test_tune_keeps_what_it_confirmed_and_nothing_else(coloured):
    data = json_of("tune", "--db", coloured, "--trials", "3")
    with TrajectoryStore(coloured) as store:
        assert values_of(tuned_config(store)) == data["best"]
        assert data["is_confirmed"] or tuned_config(store) == SelectorConfig()


def test_tune_starts_from_what_was_tuned_before(coloured):
    start = values_of(SelectorConfig()) | {"sharpening": 0.5}
    with TrajectoryStore(coloured) as store:
        save_tuned(store, start)
    data = json_of("tune", "--db", coloured, "--trials", "2")
    assert data["best"] == start or data["is_confirmed"]


def test_tune_draws_how_it_converged(coloured, tmp_path):
    figure = tmp_path / "convergence.png"
    json_of("tune", "--db", coloured, "--trials", "2", "--figure", figure)
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_tune_tells_a_person_whether_the_settings_are_kept(coloured):
    ran = trajstore("tune", "--db", coloured, "--trials", "2")
    assert ran.exit_code == 0
    assert "best found" in ran.stdout
    assert "on families that tuning has not seen: " in ran.stdout + ran.stderr


def test_tune_of_too_few_families_is_refused_in_one_sentence(store_path):
    with TrajectoryStore(store_path) as store:
        store.add_many(coloured_presses(3))
    is_refused(trajstore("tune", "--db", store_path, "--trials", "2"), "8 task families or more, got 3")


def test_pruned_lists_every_pair_with_its_reason_and_term(one_bad):
    data = json_of("pruned", "--db", one_bad)
    assert {row["tool"] for row in data["pruned"]} == {"pull"}
    for row in data["pruned"]:
        assert {"tool", "state_cluster", "state_label", "reason", "until", "status"} <= row.keys()
        assert row["reason"]
        assert row["until"] > row["since"]


def test_pruned_lists_nothing_where_nothing_is_bad(coloured):
    assert json_of("pruned", "--db", coloured) == {"pruned": []}


def test_pruned_tells_a_person_in_a_table(one_bad):
    ran = trajstore("pruned", "--db", one_bad)
    assert ran.exit_code == 0
    assert "pull" in ran.stdout
    assert "quarantined" in ran.stdout


def test_restore_uses_a_pruned_tool_again_until_more_speaks_against_it(one_bad):
    clusters = [row["state_cluster"] for row in json_of("pruned", "--db", one_bad)["pruned"]]
    restored = json_of("restore", "--db", one_bad, "--tool", "pull")["restored"]
    assert restored == [{"tool": "pull", "state_cluster": number} for number in clusters]
    assert json_of("pruned", "--db", one_bad) == {"pruned": []}
    with TrajectoryStore(one_bad) as store:
        assert {row.status for row in store.logbook.prunings("default")} == {"restored"}


def test_restore_in_one_cluster_leaves_the_others_alone(one_bad):
    clusters = [row["state_cluster"] for row in json_of("pruned", "--db", one_bad)["pruned"]]
    json_of("restore", "--db", one_bad, "--tool", "pull", "--cluster", str(clusters[0]))
    assert [row["state_cluster"] for row in json_of("pruned", "--db", one_bad)["pruned"]] == clusters[1:]


@pytest.mark.parametrize("words", [["--tool", "press"], ["--tool", "nobody"], ["--tool", "pull", "--cluster", "60"]])
def test_restore_of_what_is_not_pruned_is_refused_with_the_way_to_find_what_is(one_bad, words):
    ran = trajstore("restore", "--db", one_bad, *words)
    is_refused(ran, "is not pruned there", f"trajstore pruned --db {one_bad}")


def test_restore_tells_a_person_what_it_restored(one_bad):
    json_of("pruned", "--db", one_bad)
    ran = trajstore("restore", "--db", one_bad, "--tool", "pull")
    assert ran.exit_code == 0
    assert "pull" in ran.stdout
