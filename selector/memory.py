"""What was learned from one namespace of a store, kept up with the store."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from selector import clusters
from selector.clusters import StateClusters
from selector.knowledge import Knowledge
from selector.kpis import RewardSpec, combine, measured
from selector.learning import Learned, LearningConfig, fit_model
from selector.model_file import FittedModel, from_bytes, to_bytes
from selector.records import SelectorConfig
from trajstore.embedding import Embedder
from trajstore.errors import DamagedStore
from trajstore.recollection import OnProgress, recollect
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

REFIT_GROWTH = 1.25
RECLUSTER_GROWTH = 4.0
SMALL_STORE = 32
QUICK_REFIT_ROWS = 2_000
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """What a memory is made of."""

    embedder: Embedder
    config: SelectorConfig
    namespace: str
    seed: int = 0
    on_progress: OnProgress | None = None


class Memory:
    """Experience, retriever, order models and choice model of one namespace; `version` names settings and model."""

    def __init__(self, store: TrajectoryStore, settings: MemorySettings) -> None:
        self._store = store
        self._settings = settings
        self.namespace = settings.namespace
        self._generation = ""
        self._fitted_rows = 0
        self.version = ""
        self.learned = self._load()

    def keep_up(self) -> bool:
        """Learn anew where the store was changed by anyone else since; says whether it was."""
        is_behind = self._store.generation != self._generation
        if is_behind:
            self.learned = self._load()
        return is_behind

    def add(self, trajectory: Trajectory) -> str:
        """Store one trajectory and learn from it at once, unless others stored some since: `keep_up` takes those in.

        The choice model of a small store is refitted when much has come; that of a large one when it is next opened.
        """
        before = self._store.generation
        report = self._store.add_batch([trajectory])
        (trajectory_id,) = report.ids
        if before != self._generation or not report.added:
            return trajectory_id
        knowledge = self.learned.knowledge
        first = len(knowledge.experience.trajectory_ids)
        stored = self._store.get(trajectory_id)
        knowledge.experience.extend([stored])
        knowledge.learn([stored], first=first)
        newest = self._store.ids(self.namespace)[-1:]
        self._generation = self._store.generation if newest == (trajectory_id,) else ""
        rows = len(knowledge.experience)
        if rows <= QUICK_REFIT_ROWS and rows > REFIT_GROWTH * self._fitted_rows:
            self.learned = self._load()
        return trajectory_id

    def _load(self) -> Learned:
        settings = self._settings
        self._generation = self._store.generation
        loaded = recollect(
            self._store,
            settings.embedder,
            self.namespace,
            config=settings.config.retrieval,
            seed=settings.seed,
            on_progress=settings.on_progress,
        )
        reward_of = partial(reward_of_trajectory, spec=settings.config.reward)
        knowledge = Knowledge(
            loaded.experience,
            loaded.retriever,
            reward_of=reward_of,
            values=settings.config.values,
            corroboration=settings.config.corroboration,
        )
        knowledge.learn(loaded.trajectories, first=0)
        knowledge.outcomes.use_reports(self._reported())
        knowledge.use_clusters(self._clusters(knowledge))
        fitted = self._model(knowledge, loaded.trajectories)
        self._fitted_rows = max(fitted.rows, SMALL_STORE)
        self.version = f"{self._key()[:12]}-{fitted.rows}"
        return Learned(knowledge, fitted.model, fitted.paths, fitted.familiar)

    def _model(self, knowledge: Knowledge, trajectories: Sequence[Trajectory]) -> FittedModel:
        """The choice model kept in the store, fitted anew where most of the rows came after it."""
        name, key = f"choice-model/{self.namespace}", self._key()
        kept = _readable(from_bytes, self._store.artifact(name, key))
        rows = len(knowledge.experience)
        if kept is not None and kept.rows <= rows <= REFIT_GROWTH * max(kept.rows, SMALL_STORE):
            return kept
        config = self._settings.config
        learning = LearningConfig(config.hold_out, config.decisions, config.penalties, self._settings.seed)
        fitted = fit_model(knowledge, trajectories, learning, self._tell("learning"))
        content = to_bytes(FittedModel(fitted.model, fitted.paths, fitted.familiar, rows))
        self._store.put_artifact(name, key, content)
        return from_bytes(content)

    def _clusters(self, knowledge: Knowledge) -> StateClusters:
        """The state clusters kept in the store; found anew where most rows came later, and then nothing is pruned."""
        name, key, rows = f"clusters/{self.namespace}", self._key(), len(knowledge.experience)
        kept = _readable(clusters.from_bytes, self._store.artifact(name, key))
        if kept is not None and kept.rows <= rows <= RECLUSTER_GROWTH * max(kept.rows, SMALL_STORE):
            return kept
        content = clusters.to_bytes(clusters.find_clusters(knowledge.retriever.states, seed=self._settings.seed))
        self._store.put_artifact(name, key, content)
        self._store.logbook.clear_prunings(self.namespace)
        return clusters.from_bytes(content)

    def _reported(self) -> dict[str, float]:
        """The newest reward that was reported for each decision."""
        return {decision: value for (decision, _), value in self._store.logbook.reports(self.namespace).items()}

    def _key(self) -> str:
        """Changes whenever a kept model speaks of other rows: removals, other settings, another embedder."""
        config = self._settings.config
        parts = (
            self._store.removals,
            self._settings.embedder.identity,
            (config.retrieval, config.penalties, config.hold_out, config.decisions, self._settings.seed),
            config.corroboration,
        )
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()

    def _tell(self, what: str) -> Callable[[int, int], None]:
        on_progress = self._settings.on_progress
        return lambda done, total: on_progress(what, done, total) if on_progress is not None else None


def reward_of_trajectory(trajectory: Trajectory, spec: RewardSpec) -> float | None:
    """What a trajectory is worth by its KPIs, in [0, 1]; None where nobody judged it."""
    return combine(measured(trajectory), spec).value


def _readable(read: Callable[[bytes], Kept], content: bytes | None) -> Kept | None:
    """What was kept, None where there is none or it is damaged: it is only a cache."""
    try:
        return None if content is None else read(content)
    except DamagedStore:
        return None
