"""The demo's report: one HTML page that needs nothing from outside."""

from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec

from selector.demo.collect import action_of
from selector.demo.engine_agent import ExplainedStep
from selector.demo.figures import curve_figure, steps_figure, success_figure
from selector.demo.java import INSTALL
from selector.demo.records import DemoReport, Example
from selector.records import RankedCandidate, SupportingStep
from trajstore.errors import MissingDependency
from trajstore.render import clip
from trajstore.schema import Candidate, Step, Trajectory

TEMPLATE = "report.html.j2"
SHOWN_STATE = 240
SHOWN_OBSERVATION = 400
SHOWN_CANDIDATES = 3
SHOWN_EVIDENCE = 5
SHOWN_PRUNED = 5
SHOWN_LIKE = 160
SHOWN_TOOLS = 12


def require_packages() -> None:
    """Raise `MissingDependency` now, and not after minutes, where a package that the report needs is missing."""
    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise MissingDependency(f"the demo's report needs {' and '.join(missing)}; install: {INSTALL}")


def write_report(report: DemoReport) -> None:
    """Write the page to the report's path."""
    report.path.parent.mkdir(parents=True, exist_ok=True)
    report.path.write_text(render_report(report), encoding="utf-8")


def render_report(report: DemoReport) -> str:
    """The page."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - only the report needs it

    pages = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = pages.from_string(files("selector.demo").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        report=report,
        settings=report.settings,
        collecting=report.settings.collecting(),
        table=report.table,
        success_figures=[success_figure(report.table, game, report.leader) for game in report.table.games],
        steps_figures=[steps_figure(report.rollouts, report.table, game, report.leader) for game in _games(report)],
        curve_figures=[curve_figure(report.curve, game, report.leader) for game in report.curve[0].table.games],
        example_steps=_example_steps(report.example),
        like_shown=SHOWN_LIKE,
        tools_shown=SHOWN_TOOLS,
        clip=clip,
    )


def _games(report: DemoReport) -> list[str]:
    return list(dict.fromkeys(rollout.game for rollout in report.rollouts))


def _example_steps(example: Example | None) -> list[Mapping[str, object]]:
    if example is None:
        return []
    return [_explain(step, example.stored) for step in example.steps]


def _explain(step: ExplainedStep, stored: Mapping[str, Trajectory]) -> Mapping[str, object]:
    """One step as the page shows it."""
    decision = step.decision
    return {
        "state": step.state,
        "state_in_short": clip(step.state, SHOWN_STATE),
        "action": _words(step.chosen),
        "observation": clip(step.after.observation, SHOWN_OBSERVATION),
        "reward": step.after.reward,
        "source": decision.source,
        "propensity": decision.propensity,
        "why": why(step, stored),
        "offered": len(decision.probabilities) or len(decision.ranked),
        "ranked": [_ranked_row(one, step) for one in _shown(step)],
        "evidence": [_evidence_row(one, stored) for one in decision.evidence[:SHOWN_EVIDENCE]],
        "pruned": [{"text": _words(one.candidate), "reason": one.reason} for one in decision.pruned[:SHOWN_PRUNED]],
        "pruned_count": len(decision.pruned),
    }


def why(step: ExplainedStep, stored: Mapping[str, Trajectory]) -> str:
    """Why an action was taken, in sentences that say no more than its decision does."""
    decision = step.decision
    if decision.source == "defer":
        return f"The engine abstained ({decision.reason}); a valid action was taken at random."
    return f"{_how(step, stored)} {_backing(step, stored)}".strip()


def _how(step: ExplainedStep, stored: Mapping[str, Trajectory]) -> str:
    decision = step.decision
    if decision.path is not None:
        return f"It follows the stored trajectory {_name(decision.path, stored)}."
    left = " of those that were not pruned" if decision.pruned else ""
    if decision.source == "follow":
        return f"It is the most probable action{left}."
    return f"It is not the most probable action{left}: it was drawn by chance."


def _backing(step: ExplainedStep, stored: Mapping[str, Trajectory]) -> str:
    """How many of the nearest stored steps did the same."""
    nearest = [(one, _stored_step(one, stored)) for one in step.decision.evidence]
    if not nearest:
        return ""
    alike = sum(found is not None and action_of(found) == step.chosen.text for _, found in nearest)
    tools = sum(one.tool == step.chosen.tool for one, _ in nearest)
    good = sum(one.success is True for one, _ in nearest)
    return (
        f"Of the {len(nearest)} nearest stored steps {alike} took this very action and {tools} this tool; "
        f"{good} stand in trajectories that succeeded."
    )


def _shown(step: ExplainedStep) -> list[RankedCandidate]:
    """The most probable candidates, with the chosen one wherever it stands."""
    first, rest = step.decision.ranked[:SHOWN_CANDIDATES], step.decision.ranked[SHOWN_CANDIDATES:]
    return [*first, *(one for one in rest if one.candidate == step.chosen)]


def _ranked_row(one: RankedCandidate, step: ExplainedStep) -> Mapping[str, object]:
    return {
        "text": _words(one.candidate),
        "chosen": one.candidate == step.chosen,
        "pruned": any(pruned.candidate == one.candidate for pruned in step.decision.pruned),
        "probability": one.probability,
        "low": one.interval[0],
        "high": one.interval[1],
    }


def _evidence_row(one: SupportingStep, stored: Mapping[str, Trajectory]) -> Mapping[str, object]:
    found = _stored_step(one, stored)
    return {
        "action": one.tool if found is None else action_of(found),
        "trajectory": _name(one.trajectory, stored),
        "step": one.step + 1,
        "steps": len(stored[one.trajectory].steps) if one.trajectory in stored else None,
        "similarity": one.similarity,
        "success": one.success,
    }


def _stored_step(one: SupportingStep, stored: Mapping[str, Trajectory]) -> Step | None:
    steps = stored[one.trajectory].steps if one.trajectory in stored else ()
    return next((step for step in steps if step.index == one.step), None)


def _name(trajectory_id: str, stored: Mapping[str, Trajectory]) -> str:
    """The task of a stored trajectory and who made it; its id where it is not at hand."""
    found = stored.get(trajectory_id)
    return trajectory_id if found is None else f"{found.task.task_id} ({found.agent})"


def _words(candidate: Candidate) -> str:
    return candidate.text or candidate.tool
