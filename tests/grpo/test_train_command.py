"""`trajstore train`: from a store to a policy in a folder."""

import json
import math

import pytest
import torch
from command_line import trajstore
from tiny_policies import logged_presses

from grpo.tool_policy import ToolPolicy
from trajstore.store import TrajectoryStore

SETTINGS = 'groups = 8\nminibatch = 64\nvalidate_every = 2\ndevice = "cpu"\n'


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("store") / "agent.db"
    with TrajectoryStore(path) as store:
        store.add_many(logged_presses(24))
    return path


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "run.toml").write_text(SETTINGS)
    return tmp_path / "run.toml"


def test_training_prints_what_it_came_to_and_leaves_a_policy(database, tmp_path, settings):
    words = ("train", "--db", database, "--out", tmp_path / "run", "--config", settings, "--json")
    ran = trajstore(*words, "--updates", 2)
    assert ran.exit_code == 0, ran.stderr
    assert ran.data.keys() >= {"updates", "trajectories", "metrics", "monotonicity", "checkpoint"}
    assert ran.data["updates"] == 2
    assert ran.data["trajectories"] > 0
    for name in ("before", "after"):
        scores = ran.data["metrics"][name]
        assert scores["at1"]["low"] <= scores["at1"]["value"] <= scores["at1"]["high"]
        assert math.isfinite(scores["value"]["value"])
    assert ToolPolicy.load(ran.data["checkpoint"]).version <= 2
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in lines] == [1, 2]
    again = trajstore(*words, "--updates", 3)
    assert (again.exit_code, again.data["updates"]) == (0, 3)


def test_people_read_a_table(database, tmp_path, settings):
    ran = trajstore("train", "--db", database, "--out", tmp_path / "run", "--config", settings, "--updates", 1)
    assert ran.exit_code == 0, ran.stderr
    assert all(words in ran.stdout for words in ("1 updates on", "before", "after", "cloned"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("updates = 0", "updates must be 1 or more"), ("speed = 9", "there is no setting 'speed'"), ("x", "as TOML")],
)
def test_bad_settings_are_refused_in_one_sentence(database, tmp_path, content, sentence):
    (tmp_path / "run.toml").write_text(content)
    ran = trajstore("train", "--db", database, "--out", tmp_path / "run", "--config", tmp_path / "run.toml")
    assert ran.exit_code == 2
    assert sentence in ran.sentence
    assert not (tmp_path / "run").exists()


def test_a_store_without_trajectories_is_refused_in_one_sentence(tmp_path):
    with TrajectoryStore(tmp_path / "empty.db"):
        pass
    ran = trajstore("train", "--db", tmp_path / "empty.db", "--out", tmp_path / "run")
    assert ran.exit_code == 2
    assert "ingest some first" in ran.sentence


def test_a_store_that_is_not_there_is_refused_in_one_sentence(tmp_path):
    ran = trajstore("train", "--db", tmp_path / "none.db", "--out", tmp_path / "run")
    assert ran.exit_code != 0
    assert "none.db" in ran.sentence


def test_an_out_folder_that_is_a_file_is_refused(database, tmp_path, settings):
    (tmp_path / "run").write_text("mine")
    ran = trajstore("train", "--db", database, "--out", tmp_path / "run", "--config", settings, "--updates", 1)
    assert ran.exit_code == 1
    assert "cannot make the folder" in ran.stderr
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_missing_cuda_device_is_refused_in_one_sentence(database, tmp_path):
    ran = trajstore("train", "--db", database, "--out", tmp_path / "run", "--device", "cuda")
    assert ran.exit_code == 2
    assert "no CUDA device is there" in ran.sentence
