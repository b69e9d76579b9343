"""What was learned from one namespace of a store, or from some sources in it, kept up with the store."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from selector import clusters
from selector.clusters import StateClusters
from selector.knowledge import Knowledge
from selector.kpis import RewardSpec, combine, measured, measured_by, needs_steps
from selector.learning import Learned, LearningConfig, fit_model
from selector.model_file import FittedModel, from_bytes, to_bytes
from selector.outcomes import Stored
from selector.records import SelectorConfig
from trajstore.embedding import Embedder
from trajstore.errors import DamagedStore
from trajstore.filters import Scope
from trajstore.layers import is_near
from trajstore.marks import BEGINNING, Mark
from trajstore.recalled import Recollection
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
    """What a memory is made of; `in_background` lets an exact index answer while a large one is built."""

    embedder: Embedder
    config: SelectorConfig
    namespace: str
    seed: int = 0
    on_progress: OnProgress | None = None
    in_background: bool = False


class Memory:
    """Experience, retriever, order models and choice model of one namespace; `version` names settings and model."""

    def __init__(self, store: TrajectoryStore, settings: MemorySettings) -> None:
        self._store = store
        self._settings = settings
        self.namespace = settings.namespace
        self.scope = Scope(settings.namespace, settings.config.sources)
        self._mark = BEGINNING
        self._loaded: Recollection | None = None
        self._fitted_rows = 0
        self.version = ""
        self.learned = self._load()

    def keep_up(self) -> bool:
        """Learn what was stored since, by anyone, in time that goes with how much it is; says whether there was any.

        Where trajectories were removed or judged anew, and where the choice model is due, everything is learned anew;
        after removals, from what is left in memory.
        """
        mark = self._store.mark
        if mark == self._mark:
            return False
        if mark.only_adds_to(self._mark):
            self._take_in(mark)
        if mark != self._mark or self._is_due:
            self.learned = self._load()
        return True

    def add(self, trajectory: Trajectory) -> str:
        """Store one trajectory, and learn it at once with what others stored before it.

        The choice model of a small store is refitted when much has come; that of a large one when it next has to keep
        up with others, or is next opened.
        """
        (trajectory_id,) = self._store.add_batch([trajectory]).ids
        mark = self._store.mark
        if mark.only_adds_to(self._mark):
            self._take_in(mark)
            if self._is_due and len(self.learned.knowledge.experience) <= QUICK_REFIT_ROWS:
                self.learned = self._load()
        return trajectory_id

    @property
    def _is_due(self) -> bool:
        """Whether much has come since the choice model was fitted."""
        return len(self.learned.knowledge.experience) > REFIT_GROWTH * self._fitted_rows

    def _take_in(self, mark: Mark) -> None:
        """Learn the trajectories up to a mark."""
        content = self._store.content(self.scope, mark, since=self._mark)
        new = tuple(self._store.added(self.scope, mark, since=self._mark))
        self._mark = mark
        if self._loaded is not None:
            self._loaded = replace(self._loaded, content=(*self._loaded.content, *content))
        if not new:
            return
        knowledge = self.learned.knowledge
        first = len(knowledge.experience.trajectory_ids)
        knowledge.experience.extend(new)
        knowledge.learn(new, first=first)
        if any(step.decision_id for trajectory in new for step in trajectory.steps):
            knowledge.outcomes.use_reports(self._reported())

    def _load(self) -> Learned:
        settings = self._settings
        loaded = recollect(
            self._store,
            settings.embedder,
            self.namespace,
            config=settings.config.retrieval,
            seed=settings.seed,
            on_progress=settings.on_progress,
            in_background=settings.in_background,
            earlier=self._loaded,
            sources=self.scope.sources,
        )
        self._mark, self._loaded = loaded.mark, replace(loaded, read=tuple)  # the trajectories need not stay in memory
        reward_of = partial(reward_of_trajectory, spec=settings.config.reward)
        knowledge = Knowledge(
            loaded.experience,
            loaded.retriever,
            reward_of=reward_of,
            values=settings.config.values,
            corroboration=settings.config.corroboration,
        )
        finals = self._finals(loaded.mark)
        if len(finals) != len(loaded.experience.trajectory_ids):  # some were removed while the rest was read
            return self._load()
        knowledge.learn_all(Stored(finals, self._reported(), self._clusters(loaded.retriever.states)))
        fitted = self._model(knowledge, loaded.read)
        knowledge.use_words(fitted.words)
        knowledge.decisive, knowledge.usual = fitted.decisive, fitted.usual
        self._fitted_rows = max(fitted.rows, SMALL_STORE)
        self.version = f"{self._key()[:12]}-{fitted.rows}"
        return Learned(knowledge, fitted.model, fitted.paths, fitted.familiar)

    def _finals(self, mark: Mark) -> NDArray[np.float64]:
        """The final rewards of all trajectories up to a mark; NaN where nobody judged."""
        spec = self._settings.config.reward
        combined = cache(lambda measures: combine(measured_by(measures), spec).value)  # many are measured alike
        rows = self._store.measures(self.scope, mark, with_steps=needs_steps(spec))
        return np.array([np.nan if (final := combined(row)) is None else final for row in rows], np.float64)

    def _model(self, knowledge: Knowledge, read: Callable[[], Sequence[Trajectory]]) -> FittedModel:
        """The choice model kept in the store, fitted anew where most of the rows came after it."""
        name, key = f"choice-model/{self.scope.name}", self._key()
        kept = _readable(from_bytes, self._store.artifact(name, key))
        rows = len(knowledge.experience)
        if kept is not None and kept.rows <= rows <= REFIT_GROWTH * max(kept.rows, SMALL_STORE):
            return kept
        config = self._settings.config
        learning = LearningConfig(config.hold_out, config.decisions, config.penalties, self._settings.seed)
        fitted = fit_model(knowledge, read(), learning, self._tell("learning"))
        content = to_bytes(
            FittedModel(fitted.model, fitted.paths, fitted.familiar, rows, fitted.words, fitted.decisive, fitted.usual)
        )
        self._store.put_artifact(name, key, content)
        return from_bytes(content)

    def _clusters(self, states_ND: NDArray[np.float32]) -> StateClusters:
        """The state clusters kept in the store; found anew where most rows came later, and then nothing is pruned."""
        name, key, rows = f"clusters/{self.scope.name}", self._key(), len(states_ND)
        kept = _readable(clusters.from_bytes, self._store.artifact(name, key))
        if kept is None or not kept.rows <= rows <= RECLUSTER_GROWTH * max(kept.rows, SMALL_STORE):
            found = clusters.find_clusters(states_ND, seed=self._settings.seed)
            kept = clusters.from_bytes(clusters.to_bytes(found))
            self._store.logbook.clear_prunings(self.scope.name)
        known = len(kept.members_N)
        kept = kept.with_members(states_ND)
        if not known or not is_near(known, rows):
            self._store.put_artifact(name, key, clusters.to_bytes(kept))
        return kept

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
            *(() if self.scope.sources is None else self.scope.sources),
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
