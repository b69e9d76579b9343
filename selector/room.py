"""One namespace as its episodes see it: decisions, and what became of them."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selector.decision_log import decision_row, episode_row, hidden_decision
from selector.engine import Engine
from selector.episode import EpisodeReport, StepReport
from selector.feedback import LiveFeedback, Plan
from selector.knowledge import Knowledge
from selector.kpis import combine, measured
from selector.learning import known_tools
from selector.memory import Memory
from selector.prior_policy import PriorPolicy
from selector.records import Decision, SelectorConfig
from selector.rules import Rule
from selector.situation import Situation
from trajstore.codec import to_json
from trajstore.experience import past_step
from trajstore.logbook import CallRow, EpisodeRow, PruningRow, Reported
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step
from trajstore.store import TrajectoryStore

NO_WORD_OF_THE_TOOL = frozenset({"unknown", "blocked", "cancelled", "invalid_args", "unknown_tool"})


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """What the rooms of one selector share."""

    config: SelectorConfig
    rules: tuple[Rule, ...]
    rng: np.random.Generator
    lock: threading.RLock
    clock: Callable[[], float]
    policy: PriorPolicy | None = None


class Room:
    """Decides from one namespace's memory and logs in its store; one lock, shared with the selector's other rooms."""

    def __init__(self, store: TrajectoryStore, memory: Memory, settings: RoomSettings) -> None:
        self._store = store
        self._memory = memory
        self._config, self._settings = settings.config, settings
        self._lock, self._clock = settings.lock, settings.clock
        self._removals = store.removals
        self.feedback = self._make_feedback()
        self.feedback.learn(memory.learned.knowledge)

    @property
    def known_tools(self) -> tuple[Candidate, ...]:
        """Every tool that was ever called in this namespace."""
        return known_tools(self._memory.learned.knowledge.experience)

    @property
    def _version(self) -> str:
        """Names settings, model and prior policy."""
        prior = self._settings.policy
        return self._memory.version if prior is None else f"{self._memory.version} policy {prior.version}"

    @property
    def namespace(self) -> str:
        """Whose experience this is."""
        return self._memory.namespace

    @property
    def knowledge(self) -> Knowledge:
        """What is known now."""
        return self._memory.learned.knowledge

    def cluster_label(self, cluster: int) -> str:
        """A state of the cluster, in words: that of the stored step nearest to its centre."""
        return self.knowledge.cluster_label(cluster)

    def prunings(self) -> list[PruningRow]:
        """What was ever judged bad on this experience, and where it stands now."""
        return self._store.logbook.prunings(self._memory.scope.name)

    def keep_up(self) -> None:
        """Learn what others have stored since."""
        with self._lock:
            if self._removals != self._store.removals:
                self._removals = self._store.removals
                self.feedback = self._make_feedback()
            if self._memory.keep_up():
                self.feedback.learn(self._memory.learned.knowledge)
            self.feedback.refresh()

    def goal_similarities(self, task: str) -> NDArray[np.float32]:
        """Similarity of the task with every stored one."""
        redactor = self._store.redactor
        with self._lock:
            asked = Situation(redactor.text(task) if redactor else task, "", (), ())
            return self._memory.learned.knowledge.goal_similarities(asked)

    def remembered(self, step: Step) -> PastStep:
        """A step as the decisions after it see it: as it will be stored."""
        return past_step(self._store.redactor.step(step) if self._store.redactor else step)

    def plan(self, episode_id: str) -> Plan:
        """How a new episode is to be treated."""
        with self._lock:
            return self.feedback.plan(episode_id)

    def decide(self, situation: Situation, goals: NDArray[np.float32], plan: Plan | None = None) -> Decision:
        """One decision of an episode; it is logged with the step that follows it."""
        with self._lock:
            decision = self.engine().decide(situation, goals)
            decision = replace(decision, policy=self._version, mode=self._config.mode)
        return decision if plan is None else withhold(decision, plan)

    def engine(self) -> Engine:
        """An engine on what is known now."""
        settings = self._settings
        return Engine(
            self._memory.learned,
            self._config,
            settings.rng,
            feedback=self.feedback,
            rules=settings.rules,
            policy=settings.policy,
            redactor=self._store.redactor,
        )

    def decide_once(self, situation: Situation) -> Decision:
        """One decision outside any episode, logged at once."""
        decision = self.decide(situation, self.goal_similarities(situation.task))
        self._log("", [(len(situation.history), decision)])
        return decision

    def take_step(self, report: StepReport) -> None:
        """Log a step's decision and its outcome, and let the tool's health know."""
        if not self._config.record_episodes:
            return
        decisions = [(report.step.index, report.decision)] if report.decision else []
        calls = [self._call(report)] if _tells_of_the_tool(report.step) else []
        if decisions or calls:
            with self._lock:
                self._log(report.episode_id, decisions, calls)
                self.feedback.refresh_calls()

    def close_episode(self, report: EpisodeReport) -> str:
        """Store an episode's trajectory, learn from it, and log how it ended; returns the trajectory's id."""
        if not self._config.record_episodes:
            return ""
        with self._lock:
            self._log(report.episode_id, report.decisions)
            trajectory_id = self._memory.add(report.trajectory) if report.trajectory.steps else ""
            row = episode_row(self._hidden(report), trajectory_id, self._clock(), self._config.reward)
            self._store.logbook.end_episode(row)
            self.feedback.learn(self._memory.learned.knowledge)
            self.feedback.refresh()
            return trajectory_id

    def resume_in_child(self, lock: threading.RLock) -> None:
        """After a fork, in the child: another lock, where the thread that held the old one is not there."""
        self._lock = lock

    def report_episode(self, ended: EpisodeRow, kpis: Mapping[str, float]) -> Reported:
        """Take in how an episode ended that was censored when it was left, with its KPIs."""
        late = replace(ended, kpis=to_json(dict(kpis)), stop_reason="finished late", finished_at=self._clock())
        if ended.trajectory_id:
            stored = self._store.get(ended.trajectory_id)
            judged = replace(stored, success=ended.success, reward=ended.reward, kpis=kpis)
            combined = combine(measured(judged), self._config.reward)
            late = replace(late, combined=combined.value, parts=to_json(combined.to_json()["parts"]))
        outcome = self._store.judge(late, kpis)
        self.keep_up()
        return outcome

    def _hidden(self, report: EpisodeReport) -> EpisodeReport:
        """A report whose task is named as it is stored."""
        redactor, trajectory = self._store.redactor, report.trajectory
        if redactor is None:
            return report
        return replace(report, trajectory=replace(trajectory, task=redactor.task(trajectory.task)))

    def _make_feedback(self) -> LiveFeedback:
        return LiveFeedback(self._store.logbook, self.namespace, self._config, self._clock)

    def _call(self, report: StepReport) -> CallRow:
        step = report.step
        return CallRow(self._memory.namespace, report.episode_id, step.tool, step.has_failed, self._clock())

    def _log(self, episode: str, decisions: Sequence[tuple[int, Decision]], calls: Sequence[CallRow] = ()) -> None:
        now, namespace, redactor = self._clock(), self._memory.namespace, self._store.redactor
        shown = ((step, hidden_decision(one, redactor) if redactor else one) for step, one in decisions)
        rows = [decision_row(one, episode, step, namespace, now) for step, one in shown]
        if self._config.sources is not None:  # the log numbers the state clusters of the whole namespace
            rows = [replace(row, cluster=-1) for row in rows]
        if rows or calls:
            self._store.logbook.add(rows, calls)


def withhold(decision: Decision, plan: Plan) -> Decision:
    """The decision as its agent sees it: without the choice where the plan keeps it back."""
    seen = replace(decision, mode=plan.mode, arm=plan.assignment.arm)
    if plan.withheld:
        return replace(seen, candidate=None, source="defer", reason=plan.withheld, proposal=decision.candidate)
    if plan.mode == "narrow":
        reason = "narrow: choose among the candidates that are not pruned"
        return replace(seen, candidate=None, source="defer", reason=reason, proposal=decision.candidate)
    return seen


def _tells_of_the_tool(step: Step) -> bool:
    """Whether a step says if its tool works: one that was called wrongly never ran."""
    return step.kind == "tool" and step.outcome not in NO_WORD_OF_THE_TOOL
