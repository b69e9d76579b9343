"""The policy that a decision asks: what it gives, how it samples, and how it is kept in a file."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from tiny_logs import WordEmbedder
from tiny_policies import COLOURS, WORDS, embedder, logged_presses, random_policy, random_situations, seeing, untrained

from grpo.errors import CheckpointDamaged, TrainingUsageError
from grpo.tensor_files import load_tensors, save_tensors
from grpo.tool_policy import PolicyShape, ToolPolicy, initial_weights
from selector.situation import Situation
from trajstore.store import TrajectoryStore

SITUATION = seeing("the lamp is red", "press_red", "press_blue", "open", "door", "press")
SEEDS = st.integers(0, 10_000)


def among(situation: Situation, places) -> Situation:
    offered = tuple(situation.candidates[place] for place in places)
    return Situation(situation.task, situation.state, situation.history, offered)


def altered(policy: ToolPolicy, path: Path, **changes) -> Path:
    """The policy's file with other words in its header."""
    policy.save(path)
    arrays, texts = load_tensors(path)
    header = json.loads(texts["policy"]) | changes
    kept = {name: value for name, value in header.items() if value is not None}
    save_tensors(path, arrays, {"policy": json.dumps(kept)})
    return path


@given(SEEDS)
def test_an_untrained_policy_is_uniform(seed):
    policy = untrained(seed=seed)
    assert policy.is_untrained
    for situation in random_situations(3, seed):
        count = len(situation.candidates)
        assert policy.log_probabilities(situation) == pytest.approx(np.full(count, -np.log(count)), abs=1e-6)


@given(SEEDS)
def test_probabilities_sum_to_one(seed):
    policy = random_policy(seed)
    for situation in random_situations(3, seed):
        assert np.exp(policy.log_probabilities(situation)).sum() == pytest.approx(1.0)


def test_log_probabilities_divide_the_logits_by_the_temperature():
    policy = random_policy()
    logits = policy.logits(policy.encoder.encode(SITUATION)).astype(float)
    for temperature in (0.3, 1.0, 4.0):
        expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        found = np.exp(policy.log_probabilities(SITUATION, temperature=temperature))
        assert found == pytest.approx(expected, rel=1e-6)


@given(SEEDS, st.permutations(range(5)))
def test_the_order_of_candidates_changes_no_logit(seed, order):
    policy = random_policy(seed)
    straight = policy.logits(policy.encoder.encode(SITUATION))
    assert policy.logits(policy.encoder.encode(among(SITUATION, order))) == pytest.approx(straight[order], abs=1e-5)


@given(SEEDS, st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True))
def test_candidates_may_come_and_go_without_changing_the_logits_of_the_others(seed, places):
    policy = random_policy(seed)
    straight = policy.logits(policy.encoder.encode(SITUATION))
    assert policy.logits(policy.encoder.encode(among(SITUATION, places))) == pytest.approx(straight[places], abs=1e-5)


def test_a_tool_that_was_never_seen_gets_a_probability():
    found = np.exp(random_policy().log_probabilities(seeing("door", "press_red", "a tool of tomorrow")))
    assert (found > 0.0).all()


def test_logits_do_not_depend_on_what_was_asked_before():
    fresh, used = random_policy(), random_policy()
    for situation in random_situations(40):
        used.log_probabilities(situation)
    assert used.log_probabilities(SITUATION) == pytest.approx(fresh.log_probabilities(SITUATION), abs=1e-6)


def test_a_table_of_texts_that_was_emptied_changes_nothing():
    policy, expected = random_policy(), random_policy().log_probabilities(SITUATION)
    policy.encoder.most_texts = 5
    for situation in random_situations(20):
        policy.log_probabilities(situation)
        assert policy.log_probabilities(SITUATION) == pytest.approx(expected, abs=1e-6)


def test_sampling_follows_the_probabilities():
    policy, rng = random_policy(), np.random.default_rng(0)
    for temperature in (0.5, 1.0, 2.0):
        expected = np.exp(policy.log_probabilities(SITUATION, temperature=temperature))
        drawn = [policy.act_with_exploration(SITUATION, rng, temperature=temperature).place for _ in range(2000)]
        assert chisquare(np.bincount(drawn, minlength=5), 2000 * expected).pvalue > 1e-4


def test_what_is_recorded_is_the_log_probability_of_what_was_sampled():
    policy, rng = random_policy(), np.random.default_rng(0)
    known = policy.log_probabilities(SITUATION, temperature=0.7)
    for _ in range(20):
        action = policy.act_with_exploration(SITUATION, rng, temperature=0.7)
        assert action.log_probability == pytest.approx(known[action.place])


def test_temperature_zero_takes_the_most_probable():
    policy, rng = random_policy(), np.random.default_rng(0)
    for situation in random_situations(20):
        action = policy.act_with_exploration(situation, rng, temperature=0.0)
        assert action.place == policy.log_probabilities(situation).argmax()
        assert action.log_probability == 0.0


def test_the_same_generator_draws_the_same():
    policy = random_policy()
    drawn = [
        [policy.act_with_exploration(SITUATION, rng).place for _ in range(20)]
        for rng in (np.random.default_rng(1), np.random.default_rng(1))
    ]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("temperature", [-1.0, float("nan")])
def test_a_temperature_below_zero_is_refused(temperature):
    with pytest.raises(TrainingUsageError, match="temperature must be above 0"):
        random_policy().act_with_exploration(SITUATION, np.random.default_rng(0), temperature=temperature)


def test_a_choice_among_nothing_is_refused():
    with pytest.raises(TrainingUsageError, match="offer at least one"):
        random_policy().log_probabilities(seeing("the lamp is red"))


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_layer_needs_an_entry(sizes):
    with pytest.raises(TrainingUsageError, match="must be 1 or more, got 0"):
        PolicyShape(*sizes)


def test_weights_of_another_shape_are_refused():
    shape = PolicyShape(len(WORDS), 8)
    weights = initial_weights(shape, np.random.default_rng(0))
    with pytest.raises(TrainingUsageError, match="weights query_H must have shape"):
        ToolPolicy(shape, weights | {"query_H": np.zeros(9, np.float32)}, embedder())
    del weights["out_J"]
    with pytest.raises(TrainingUsageError, match="weights out_J must have shape"):
        ToolPolicy(shape, weights, embedder())


def test_another_embedder_is_refused():
    with pytest.raises(TrainingUsageError, match="hand in the embedder"):
        ToolPolicy(PolicyShape(3), initial_weights(PolicyShape(3), np.random.default_rng(0)), embedder())


def test_a_decision_needs_no_torch():
    script = (
        "import sys\n"
        "from grpo.tool_policy import ToolPolicy\n"
        "from selector.situation import Situation\n"
        "from trajstore.schema import Candidate\n"
        "ToolPolicy.untrained().log_probabilities(Situation('t', 's', (), (Candidate('a'), Candidate('b'))))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@given(SEEDS)
def test_what_is_saved_comes_back_exactly(tmp_path_factory, seed):
    path = tmp_path_factory.mktemp("policy") / "policy.safetensors"
    policy = random_policy(seed).with_weights(random_policy(seed).weights, version=seed)
    policy.save(path)
    again = ToolPolicy.load(path, embedder=embedder())
    assert again.version == seed
    assert again.shape == policy.shape
    assert all((again.weights[name] == weights).all() for name, weights in policy.weights.items())
    assert (again.log_probabilities(SITUATION) == policy.log_probabilities(SITUATION)).all()


def test_a_policy_with_the_hashed_embedder_needs_no_embedder_to_be_loaded(tmp_path):
    policy = ToolPolicy.untrained(hidden=4, descriptions={"press_red": "a red button"})
    policy.save(tmp_path / "policy")
    again = ToolPolicy.load(tmp_path / "policy")
    assert again.encoder.descriptions == {"press_red": "a red button"}
    assert again.encoder.embedder.identity == policy.encoder.embedder.identity


def test_a_file_trained_with_another_embedder_is_refused(tmp_path):
    random_policy().save(tmp_path / "policy")
    with pytest.raises(TrainingUsageError, match="hand in the same embedder"):
        ToolPolicy.load(tmp_path / "policy", embedder=WordEmbedder(*WORDS[::-1]))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.9, 0.9999])
def test_a_file_cut_short_is_refused(tmp_path, share):
    path = tmp_path / "policy"
    random_policy().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointDamaged, match="not whole"):
        ToolPolicy.load(path, embedder=embedder())


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_are_refused(tmp_path, seed):
    path = tmp_path / "policy"
    path.write_bytes(np.random.default_rng(seed).bytes(5000))
    with pytest.raises(CheckpointDamaged, match="not whole"):
        ToolPolicy.load(path)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


def test_a_pickle_is_refused_and_never_executed(tmp_path):
    (tmp_path / "policy").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(CheckpointDamaged):
        ToolPolicy.load(tmp_path / "policy")
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointDamaged, match="is not there"):
        ToolPolicy.load(tmp_path / "policy")


def test_tensors_of_something_else_are_refused(tmp_path):
    save_tensors(tmp_path / "policy", {"x": np.zeros(3)}, {"made by": "another program"})
    with pytest.raises(CheckpointDamaged, match="is no tool policy"):
        ToolPolicy.load(tmp_path / "policy")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "another"},
        {"format_version": 99},
        {"hidden": "many"},
        {"hidden": 0},
        {"hidden": 9},
        {"embedder": None},
        {"version": None},
        {"version": "new"},
        {"descriptions": ["red"]},
    ],
)
def test_a_header_that_does_not_fit_is_damage(tmp_path, changes):
    with pytest.raises(CheckpointDamaged):
        ToolPolicy.load(altered(random_policy(), tmp_path / "policy", **changes), embedder=embedder())


def test_a_policy_cloned_from_a_store_knows_what_its_successes_did(store: TrajectoryStore):
    store.add_many(logged_presses(40, skill=0.9))
    policy = ToolPolicy.from_store(store)
    for colour in COLOURS:
        situation = seeing(f"the lamp is {colour}", *(f"press_{one}" for one in COLOURS))
        assert policy.act_with_exploration(situation, np.random.default_rng(0), temperature=0.0).place == COLOURS.index(
            colour
        )
