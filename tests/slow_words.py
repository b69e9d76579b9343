"""Embedders that stand for a slow model, and stores of texts that such a model embedded."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from trajectory_samples import make_step

from trajstore.embedding import HashedEmbedder, normalised, text_hash
from trajstore.experience import embedded_texts
from trajstore.identity import EmbedderIdentity
from trajstore.schema import Task, Trajectory
from trajstore.store import TrajectoryStore
from trajstore.vector_cache import VectorCache

DIMENSION = 48
TOPICS = 12


class ProjectedEmbedder:
    """Word counts projected at random into few entries; it keeps the texts that it was asked for."""

    def __init__(self, name: str = "projected", dimension: int = DIMENSION) -> None:
        self.identity = EmbedderIdentity(name, dimension, f"sentence-transformers-{name}-{dimension}")
        self.asked: list[str] = []
        self._words = HashedEmbedder(4096)
        self._projection = np.random.default_rng(0).normal(size=(4096, dimension)).astype(np.float32)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return normalised(self._words.embed(texts) @ self._projection)


class RandomEmbedder(ProjectedEmbedder):
    """A vector that tells nothing of its text: no student can learn it."""

    def __init__(self) -> None:
        super().__init__("random")

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        seeds = [int.from_bytes(text_hash(text), "big") for text in texts]
        vectors = [np.random.default_rng(seed).normal(size=DIMENSION) for seed in seeds]
        return normalised(np.array(vectors, np.float32).reshape(len(texts), DIMENSION))


def make_tasks(count: int, *, seed: int = 0, steps: int = 6) -> list[Trajectory]:
    """Trajectories of different tasks, each about one topic, in sentences of its words."""
    rng = np.random.default_rng(seed)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["".join(np.random.default_rng(word).choice(letters, 5)) for word in range(10 * TOPICS)]

    def sentence(topic: int) -> str:
        of_topic = rng.choice(words[10 * topic : 10 * topic + 10], 5)
        return " ".join([*of_topic, *rng.choice(words, 3)])

    def task(number: int) -> Trajectory:
        topic = number % TOPICS
        made = [make_step(at, state=sentence(topic), observation=sentence(topic)) for at in range(steps)]
        return Trajectory(Task(sentence(topic), group=f"{seed}-{number}"), tuple(made), success=True)

    return [task(number) for number in range(count)]


def fill(store: TrajectoryStore, embedder: ProjectedEmbedder, trajectories: Sequence[Trajectory]) -> None:
    """Add trajectories, and the vectors of their texts."""
    store.add_many(trajectories)
    VectorCache(store, embedder).embed(sorted({text for one in trajectories for text in embedded_texts(one)}))
