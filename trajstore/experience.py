"""Stored steps as columns in memory: what retrieval and choice read instead of records.

One row is one tool call of one trajectory.  Messages and the user's own calls are no rows (they are never chosen) but
stand in the order of steps that later rows are matched by.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajstore.columns import Column, Vocabulary
from trajstore.contents import Contents, column_of
from trajstore.errors import UnknownTrajectory
from trajstore.moments import Moments
from trajstore.order import step_token
from trajstore.progress import known_progress, leading_steps, means_by_family, partial_weights
from trajstore.render import PastStep, call_of, render_arguments, render_goal, render_state
from trajstore.schema import Step, Trajectory

SUFFIX_LENGTHS = (1, 2, 3)
UNJUDGED_WEIGHT = 0.3
LIVE_TEXTS = 1024
BELIEVED_JUDGES = frozenset({"environment", "test", "human"})
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
Read = Callable[[str], Trajectory]
VOCABULARIES = ("tools", "actions", "sources", "families", "groups", "peers", "templates", "goals")


@dataclass(frozen=True, slots=True)
class Playback:
    """A trajectory as it looked to the agent, step by step."""

    trajectory: Trajectory
    past: tuple[PastStep, ...]

    def state_text(self, position: int) -> str:
        """The rendered state before the step at `position`; the task where nothing else is known."""
        steps = self.trajectory.steps
        rendered = render_state(steps[position].state, self.past[max(0, position - 2) : position])
        return rendered or render_goal(self.trajectory.task.text)

    def moment_text(self, position: int) -> str:
        """The state before the step at `position` alone; the task where it is empty."""
        return moment_of(self.trajectory, position)


def moment_of(trajectory: Trajectory, position: int) -> str:
    """The state before one step alone, as words; the task where it is empty."""
    return render_state(trajectory.steps[position].state, ()) or render_goal(trajectory.task.text)


def play_back(trajectory: Trajectory) -> Playback:
    """Render every step once."""
    return Playback(trajectory, tuple(past_step(step) for step in trajectory.steps))


def past_step(step: Step) -> PastStep:
    """A stored step as it is remembered by the steps after it."""
    offered = tuple(call_of(candidate).action for candidate in step.candidates)
    called = step.tool, render_arguments(step.args)
    return PastStep(*called, step.observation, step.has_failed, step.state, offered, step.reward, step.was_refused)


def embedded_texts(trajectory: Trajectory) -> set[str]:
    """Every text of a trajectory that is ever embedded."""
    playback, calls = play_back(trajectory), [at for at, step in enumerate(trajectory.steps) if step.kind == "tool"]
    states = {playback.state_text(at) for at in calls} | {playback.moment_text(at) for at in calls}
    return states | {render_goal(trajectory.task.text)}


def suffix_keys(tokens: Sequence[int]) -> tuple[int, ...]:
    """One number for each suffix of 1, 2 and 3 steps: equal for equal suffixes, the start included."""
    padded = (-1, -1, -1, *tokens)
    return tuple(hash(tuple(padded[len(padded) - length :])) for length in SUFFIX_LENGTHS)


def imitation_weight(trajectory: Trajectory) -> float:
    """How far a trajectory's steps are taken as an example: its trust where it succeeded, less where nobody judged."""
    if trajectory.success is None or trajectory.judge not in BELIEVED_JUDGES:
        return UNJUDGED_WEIGHT * trajectory.trust if trajectory.success is not False else 0.0
    return trajectory.trust if trajectory.success else 0.0


def is_believed(trajectory: Trajectory) -> bool:
    """Whether what a trajectory claims of its outcome was judged by someone else than itself or a language model."""
    return trajectory.judge in BELIEVED_JUDGES


def label_trust(trajectory: Trajectory) -> float:
    """How far the outcome that a trajectory claims is believed, in [0, 1]."""
    return trajectory.trust * (1.0 if is_believed(trajectory) else UNJUDGED_WEIGHT)


def wasted_steps(playback: Playback) -> tuple[bool, ...]:
    """Whether each step lies on a way that led back to where it began: same state, observation and candidates.

    Erasing each loop as it closes leaves a path that visits no place twice (Lawler 1980).  Only logs that list whole
    actions are judged: elsewhere an equal state (often just the user's last words) does not mean an equal world.
    """
    steps = playback.trajectory.steps
    seen: dict[tuple[object, ...], int] = {}
    wasted = [False] * len(steps)
    for at, step in enumerate(steps):
        if not any(candidate.args or candidate.text for candidate in step.candidates):
            continue
        offered = tuple(sorted(candidate.text or candidate.tool for candidate in step.candidates))
        here = (step.state, steps[at - 1].observation if at else "", offered)
        if here in seen:
            begin = seen[here]
            wasted[begin:at] = [True] * (at - begin)
            seen = {place: when for place, when in seen.items() if when < begin}
        seen[here] = at
    return tuple(wasted)


def holdout_unit(trajectory: Trajectory, position: int, level: str) -> str:
    """What is left out when this trajectory asks: its family, its group, or itself where it names none."""
    task = trajectory.task
    own = trajectory.trajectory_id or f"#{position}"
    return {"family": task.family or task.group or own, "group": task.group or own}[level]


class Experience:
    """Columns of steps (rows) and of trajectories, with the vectors of states and goals.

    A template is a sequence of tools, `peers` are the families that tasks name; `decisions` gives the row of each step
    that was decided on by a selector.
    `embed` makes the vectors of what is stored, `embed_live` (where another is given) those of live texts.
    """

    def __init__(self, embed: Embed, dimension: int, *, embed_live: Embed | None = None) -> None:
        self._embed = embed
        embed_live = embed_live or embed
        self._embed_one = lru_cache(LIVE_TEXTS)(lambda text: np.asarray(embed_live([text])[0], np.float32))
        self.dimension = dimension
        self.tools, self.actions, self.sources = Vocabulary(), Vocabulary(), Vocabulary()
        self.families, self.groups, self.peers = Vocabulary(), Vocabulary(), Vocabulary()
        self.templates = Vocabulary()
        self.decisions: dict[str, int] = {}
        self._goals = Vocabulary()
        self._moments = Moments()
        self._read: Read | None = None
        self.trajectory_ids: list[str] = []
        self._trajectory_columns = {
            "family": Column(np.int32),
            "group": Column(np.int32),
            "peers": Column(np.int32),
            "source": Column(np.int32),
            "goal": Column(np.int32),
            "template": Column(np.int32),
            "end": Column(np.int64),
            "order_end": Column(np.int64),
            "created": Column(np.float64),
            "success": Column(np.float32),
            "weight": Column(np.float32),
            "trust": Column(np.float32),
            "believed": Column(np.bool_),
            "progress": Column(np.float32),
        }
        self._step_columns = {
            "trajectory": Column(np.int32),
            "position": Column(np.int32),
            "tool": Column(np.int32),
            "action": Column(np.int32),
            "failed": Column(np.bool_),
            "reward": Column(np.float32),
            "moment": Column(np.int32),
            "wasted": Column(np.bool_),
            "leads": Column(np.bool_),
            "goal": Column(np.int32),
            "source": Column(np.int32),
            "believed": Column(np.bool_),
            "suffix": Column(np.int64, len(SUFFIX_LENGTHS)),
        }
        self._order_columns = {"token": Column(np.int32), "called": Column(np.int32), "counts": Column(np.bool_)}
        self._believed_weight = self._unbelieved_weight = 0.0
        self._judged = np.zeros(0), np.zeros(0)
        self._states = Column(np.float16, dimension)
        self._goal_vectors = Column(np.float32, dimension)
        self._moment_vectors = Column(np.float16, dimension)

    def __len__(self) -> int:
        return len(self._states)

    def extend(self, trajectories: Iterable[Trajectory]) -> None:
        """Append trajectories, embedding what is new."""
        texts: list[str] = []
        for trajectory in trajectories:
            texts += self._append(play_back(trajectory))
        self._states.extend(self._embed(texts))
        self._goal_vectors.extend(self._embed(self._goals.names[len(self._goal_vectors) :]))
        self._moment_vectors.extend(self._embed(self._moments.texts(len(self._moment_vectors))))

    def contents(self) -> Contents:
        """All that it holds, as it stands now: nothing of it changes when more is appended."""
        arrays = {name: column.values for name, column in self._all_columns().items()}
        names = {name: vocabulary.names for name, vocabulary in self._vocabularies().items()}
        weights = self._believed_weight, self._unbelieved_weight
        return Contents(arrays, names | {"ids": tuple(self.trajectory_ids)}, dict(self.decisions), weights)

    def restore(self, contents: Contents, read: Read) -> None:
        """Hold what another one held, in place of nothing; `read` gives a trajectory by its id."""
        groups = self._step_columns, self._trajectory_columns, self._order_columns
        for kind, group in zip(("step", "trajectory", "order"), groups, strict=True):
            for name, column in group.items():
                group[name] = column_of(contents, f"{kind} {name}", column)
        self._states = column_of(contents, "states", self._states)
        self._goal_vectors = column_of(contents, "goals", self._goal_vectors)
        self._moment_vectors = column_of(contents, "moments", self._moment_vectors)
        self._moments = Moments(column_of(contents, "moment hashes", self._moments.hashes))
        for name, vocabulary in self._vocabularies().items():
            vocabulary.extend(contents.names[name])
        self.trajectory_ids = list(contents.names["ids"])
        self.decisions = dict(contents.decisions)
        self._believed_weight, self._unbelieved_weight = contents.weights
        self._read = read

    def column(self, name: str) -> NDArray[Any]:  # Any: each column has its own type
        """A column of the rows: trajectory, position, tool, action, failed, reward, moment, wasted, suffix or leads.

        `leads` says whether the step led to the most that its trajectory reached: not beyond that, and not wasted.
        What is asked of every row that is compared is here too, as its trajectory has it: goal, source and believed.
        """
        return self._step_columns[name].values

    def order_column(self, name: str) -> NDArray[Any]:  # Any: as above
        """A column of all steps, messages too: token, called (the action's number, −1: no tool's action), counts.

        What counts is a tool call that did not lead back to where it began.  The steps of a trajectory are those up to
        its `order_end`.
        """
        return self._order_columns[name].values

    def example_weights(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """How far each row is an example to follow: as its trajectory is, where the step led to what that reached."""
        weights = self.weights.take(self.column("trajectory").take(rows))
        return np.asarray(weights * self.column("leads").take(rows), np.float32)

    @property
    def weights(self) -> NDArray[np.float64]:
        """How far each trajectory is an example to follow: its own weight, or what its progress earns beside others."""
        return self._weights_and_stakes()[0]

    @property
    def stakes(self) -> NDArray[np.float64]:
        """What each trajectory's family comes to on average, in [0, 1]: what one that fails has lost; 1 if unknown."""
        return self._weights_and_stakes()[1]

    def _weights_and_stakes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both, computed anew when trajectories have come; tasks that name no family are compared with one another."""
        if len(self._judged[0]) != len(self.trajectory_ids):
            own, success, trust = (self.trajectory_column(name) for name in ("weight", "success", "trust"))
            progress, *compared = (self.trajectory_column(name) for name in ("progress", "believed", "peers"))
            earned = trust * partial_weights(progress.astype(np.float64), *compared)
            reached = np.where(success == 1.0, 1.0, np.clip(progress, 0.0, 1.0)).astype(np.float64)
            stakes = means_by_family(reached, *compared, otherwise=1.0)
            self._judged = np.where(success == 0.0, earned, own), stakes
        return self._judged

    @property
    def is_contested(self) -> bool:
        """Whether evidence needs weighing by who brought it: there are several sources, and someone who is believed."""
        return len(self.sources) > 1 and self._believed_weight > 0.0

    @property
    def unbelieved_ratio(self) -> float:
        """Weight of examples whose word counts only with corroboration over that of the others; ∞ without others."""
        return self._unbelieved_weight / self._believed_weight if self._believed_weight else np.inf

    def trajectory_column(self, name: str) -> NDArray[Any]:  # Any: as above
        """A column of the trajectories, by its name in the constructor: family, source, template, success and so on.

        `weight` is how far it is an example by its own outcome, `progress` the highest return that it reached.
        `believed` says whether its word counts without corroboration: it is judged, by a judge who is believed.
        """
        return self._trajectory_columns[name].values

    @property
    def states(self) -> NDArray[np.float16]:
        """Vectors of the rendered states, shape (rows, D), as the embedder made them."""
        return np.asarray(self._states.values, np.float16)

    @property
    def moments(self) -> NDArray[np.float16]:
        """Vectors of the different states without what came before them, shape (moments, D)."""
        return np.asarray(self._moment_vectors.values, np.float16)

    @property
    def goals(self) -> NDArray[np.float32]:
        """Vectors of the different tasks, shape (tasks, D)."""
        return np.asarray(self._goal_vectors.values, np.float32)

    def embed(self, text: str) -> NDArray[np.float32]:
        """The vector of one live text, shape (D,); the newest texts are remembered."""
        return self._embed_one(text)

    def describe(self, row: int) -> tuple[str, int, str, bool | None]:
        """Trajectory id, position, tool and success of one row."""
        owner, position, tool = (self.column(name).item(row) for name in ("trajectory", "position", "tool"))
        success = self.trajectory_column("success").item(owner)
        judged = None if isnan(success) else bool(success)
        return self.trajectory_ids[owner], position, self.tools.names[tool], judged

    def moment_text(self, row: int) -> str:
        """The state alone before one row, in words; read from the store where this process has not rendered it."""
        return self.moment_texts([row])[0]

    def moment_texts(self, rows: Sequence[int]) -> list[str]:
        """The states alone before rows of one trajectory, in words; it is read at most once.

        What is not known is empty where somebody else has removed the trajectory since.
        """
        texts = [self._moments.text(number) for number in self.column("moment")[list(rows)].tolist()]
        if None in texts and self._read is not None:
            with suppress(UnknownTrajectory):
                trajectory = self._read(self.describe(rows[0])[0])
                return [moment_of(trajectory, position) for position in self.column("position")[list(rows)].tolist()]
        return [text or "" for text in texts]

    @property
    def goal_names(self) -> tuple[str, ...]:
        """The different tasks in words, by number."""
        return self._goals.names

    def tokens(self, history: Sequence[PastStep]) -> tuple[int, ...]:
        """A live history as the order model sees it; tools never seen before get numbers beyond the known ones."""
        unknown = len(self.tools)
        numbers = ((self.tools.known(step.tool), step.failed) for step in history)
        return tuple(step_token(number if number >= 0 else unknown, failed=failed) for number, failed in numbers)

    def _append(self, playback: Playback) -> list[str]:
        """Fill the columns for one trajectory; returns the state texts of its rows."""
        number = self._append_trajectory(playback.trajectory)
        tools = [self.tools.number(step.tool) for step in playback.trajectory.steps]
        tokens = [step_token(tool, failed=past.failed) for tool, past in zip(tools, playback.past, strict=True)]
        steps = playback.trajectory.steps
        rows = [at for at, step in enumerate(steps) if step.kind == "tool"]
        known = len(self._step_columns["tool"])
        self._trajectory_columns["end"].extend([known + len(rows)])
        self.decisions |= {str(steps[at].decision_id): known + n for n, at in enumerate(rows) if steps[at].decision_id}
        past = [playback.past[at] for at in rows]
        columns = self._step_columns
        columns["trajectory"].extend([number] * len(rows))
        columns["position"].extend(rows)
        columns["tool"].extend([tools[at] for at in rows])
        columns["action"].extend([self.actions.number(step.action) for step in past])
        columns["failed"].extend([step.failed for step in past])
        columns["reward"].extend([_number(steps[at].reward) for at in rows])
        columns["moment"].extend([self._moments.number(playback.moment_text(at)) for at in rows])
        wasted = wasted_steps(playback)
        order, kept = self._order_columns, zip(steps, wasted, strict=True)
        order["token"].extend(tokens)
        order["called"].extend([self.actions.known(step.action) for step in playback.past])
        order["counts"].extend([step.kind == "tool" and not loop for step, loop in kept])
        self._trajectory_columns["order_end"].extend([len(order["token"])])
        columns["wasted"].extend([wasted[at] for at in rows])
        leading = leading_steps(playback.trajectory)
        columns["leads"].extend([at < leading and not wasted[at] for at in rows])
        for name in ("goal", "source", "believed"):
            columns[name].extend([self.trajectory_column(name)[number]] * len(rows))
        columns["suffix"].extend([suffix_keys(tokens[max(0, at - 3) : at]) for at in rows])
        return [playback.state_text(at) for at in rows]

    def _vocabularies(self) -> dict[str, Vocabulary]:
        return {name: self._goals if name == "goals" else getattr(self, name) for name in VOCABULARIES}

    def _all_columns(self) -> dict[str, Column]:
        groups = {"step": self._step_columns, "trajectory": self._trajectory_columns, "order": self._order_columns}
        found = {f"{kind} {name}": column for kind, group in groups.items() for name, column in group.items()}
        vectors = {"states": self._states, "goals": self._goal_vectors, "moments": self._moment_vectors}
        return found | vectors | {"moment hashes": self._moments.hashes}

    def _append_trajectory(self, trajectory: Trajectory) -> int:
        number = len(self.trajectory_ids)
        self.trajectory_ids.append(trajectory.trajectory_id)
        columns = self._trajectory_columns
        columns["family"].extend([self.families.number(holdout_unit(trajectory, number, "family"))])
        columns["group"].extend([self.groups.number(holdout_unit(trajectory, number, "group"))])
        columns["peers"].extend([self.peers.number(trajectory.task.family)])
        columns["source"].extend([self.sources.number(trajectory.source)])
        columns["goal"].extend([self._goals.number(render_goal(trajectory.task.text))])
        columns["template"].extend([self.templates.number("\n".join(trajectory.tools))])
        columns["success"].extend([_number(trajectory.success)])
        columns["created"].extend([trajectory.created_at or 0.0])
        columns["weight"].extend([imitation_weight(trajectory)])
        self._weigh(trajectory)
        columns["trust"].extend([label_trust(trajectory)])
        columns["believed"].extend([trajectory.success is not None and is_believed(trajectory)])
        columns["progress"].extend([known_progress(trajectory)])
        return number

    def _weigh(self, trajectory: Trajectory) -> None:
        """Count the weight of its examples among what is believed, or among what needs corroboration."""
        weight = imitation_weight(trajectory) * sum(step.kind == "tool" for step in trajectory.steps)
        if trajectory.success is not None and is_believed(trajectory):
            self._believed_weight += weight
        else:
            self._unbelieved_weight += weight


def _number(value: float | None) -> float:
    """A number for a column: NaN where nothing is known."""
    return np.nan if value is None else float(value)
