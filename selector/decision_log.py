"""Decisions and episodes as rows of the store's log."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selector.episode import EpisodeReport
from selector.kpis import RewardSpec, combine, measured
from selector.records import Decision
from trajstore.codec import from_json, to_json
from trajstore.logbook import DecisionRow, EpisodeRow
from trajstore.redact import KeyedRedactor
from trajstore.schema import Candidate


def decision_row(decision: Decision, episode: str, step: int, namespace: str, now: float) -> DecisionRow:
    """One decision as it is logged."""
    summary = as_json(decision)
    return DecisionRow(
        id=decision.decision_id,
        episode=episode,
        step_index=step,
        namespace=namespace,
        created_at=now,
        source=decision.source,
        tool=decision.tool,
        args=to_json(dict(decision.candidate.args)) if decision.candidate else None,
        propensity=decision.propensity,
        ranked=to_json(summary["ranked"]),
        pruned=to_json(summary["pruned"]),
        evidence=to_json(summary["evidence"]),
        reason=decision.reason,
        mode=decision.mode,
        arm=decision.arm,
        policy=decision.policy,
        cluster=decision.cluster,
        probabilities=to_json(_sparse(decision)),
    )


def hidden_decision(decision: Decision, redactor: KeyedRedactor) -> Decision:
    """A decision with its candidates as they are stored."""
    ranked = tuple(replace(one, candidate=redactor.candidate(one.candidate)) for one in decision.ranked)
    pruned = tuple(replace(one, candidate=redactor.candidate(one.candidate)) for one in decision.pruned)
    chosen, proposed = (one and redactor.candidate(one) for one in (decision.candidate, decision.proposal))
    shown = replace(decision, candidate=chosen, proposal=proposed, reason=redactor.text(decision.reason))
    return replace(shown, ranked=ranked, pruned=pruned, feared=tuple(map(redactor.candidate, decision.feared)))


def episode_row(report: EpisodeReport, trajectory_id: str, now: float, spec: RewardSpec) -> EpisodeRow:
    """How an episode ended, as it is logged: the reward as it was given, beside the one that its KPIs combine to."""
    trajectory = report.trajectory
    combined = combine(measured(trajectory), spec)
    return EpisodeRow(
        id=report.episode_id,
        namespace=trajectory.task.namespace,
        trajectory_id=trajectory_id,
        success=trajectory.success,
        reward=trajectory.reward,
        kpis=to_json(dict(trajectory.kpis)),
        stop_reason=trajectory.stop_reason,
        finished_at=now,
        mode=report.plan.mode,
        arm=report.plan.assignment.arm,
        assigned=report.plan.assignment.propensity,
        task_group=trajectory.task.group,
        combined=None if trajectory.stop_reason == "censored" else combined.value,
        parts=to_json(combined.to_json()["parts"]),
    )


def probabilities(row: DecisionRow, candidates: int) -> NDArray[np.float64]:
    """The probability of each of K candidates as it was logged, shape (K,); zeros where it abstained."""
    logged = from_json(row.probabilities)
    found = np.full(candidates, float(logged.get("floor", 0.0)))
    for place, value in logged.get("over", {}).items():
        found[int(place)] = value
    return found


def _sparse(decision: Decision) -> dict[str, Any]:  # Any: JSON
    """The commonest probability (that of exploration alone) once, and the others by place."""
    if not decision.probabilities:
        return {}
    values = np.array(decision.probabilities)
    floor = float(np.quantile(values, 0.5, method="nearest"))
    others = np.flatnonzero(np.abs(values - floor) > 1e-9)
    return {"floor": floor, "over": {str(place): float(values[place]) for place in others.tolist()}}


def as_json(decision: Decision) -> dict[str, Any]:  # Any: JSON
    """A decision as plain JSON data, with the keys that scripts read."""
    return {
        "decision_id": decision.decision_id,
        "tool": decision.tool,
        "args": dict(decision.candidate.args) if decision.candidate else None,
        "source": decision.source,
        "propensity": decision.propensity,
        "reason": decision.reason,
        "mode": decision.mode,
        "arm": decision.arm,
        "path": decision.path,
        "proposal": _named(decision.proposal) if decision.proposal else None,
        "ranked": [
            {
                **_named(one.candidate),
                "probability": one.probability,
                "interval": list(one.interval),
                "evidence": one.evidence,
            }
            for one in decision.ranked
        ],
        "pruned": [{**_named(one.candidate), "reason": one.reason} for one in decision.pruned],
        "feared": [_named(one) for one in decision.feared],
        "evidence": [
            {
                "trajectory": one.trajectory,
                "step": one.step,
                "tool": one.tool,
                "similarity": one.similarity,
                "success": one.success,
            }
            for one in decision.evidence
        ],
    }


def _named(candidate: Candidate) -> dict[str, Any]:  # Any: as above
    return {"tool": candidate.tool, **({"args": dict(candidate.args)} if candidate.args else {})}
