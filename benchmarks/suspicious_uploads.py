"""How far two uploads that claim too much move what is believed of all others.

    python benchmarks/suspicious_uploads.py DATA_FOLDER [--quick] [--json]

Two uploads to the tau2 collection claim 98 to 100 % success on airline, where strong models get 39 to 76 %.  What is
learned from all others is compared with what is learned with those two as well: taken at their word ("environment"),
or as their own judges ("self", as `trajstore ingest --judge self` stores them); with corroboration and without.  At the
calls of every tenth trajectory of the others, left out when it is asked about, "success" is how far the estimated
success of the tool that was called moved, "choice" how far the probability of that tool did; means of absolute
differences.  What as many of the others move, when they come last, is shown beside it ("others").
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selector.corroboration import CorroborationConfig
from selector.engine import Engine
from selector.learning import Learned, LearningConfig, known_tools, learn
from selector.records import SelectorConfig
from selector.situation import place_of, situation_at
from trajstore.embedding import make_embedder
from trajstore.experience import play_back
from trajstore.ingest import read_trajectories
from trajstore.output import print_table
from trajstore.schema import Trajectory

SUSPICIOUS = "adaptive-agent"
EVERY = 10


@dataclass(frozen=True, slots=True)
class Row:
    """How far estimates moved: mean and largest change of a tool's success, mean change of its probability."""

    judge: str
    corroboration: str
    calls: int
    success: float
    most: float
    choice: float


def estimates(learned: Learned, asked: Sequence[Trajectory], numbers: dict[int, int]) -> NDArray[np.float64]:
    """Estimated success, and probability, of the tool called at every step of `asked`; shape (2, calls)."""
    knowledge = learned.knowledge
    engine = Engine(learned, SelectorConfig(), np.random.default_rng(0))
    tools = known_tools(knowledge.experience)
    found = []
    for trajectory in asked:
        playback, left = play_back(trajectory), knowledge.left_out([numbers[id(trajectory)]])
        for place, step in enumerate(trajectory.steps):
            if step.kind != "tool":
                continue
            situation = situation_at(playback, place, tools)
            goals = knowledge.goal_similarities(situation)
            seen = engine.consider(situation, goals, left)
            at = place_of(situation, step.tool, step.args)
            tool = int(seen.assessment.candidates.tool_of[at or 0])
            found.append((seen.assessment.tool_success.mean[tool], seen.posterior.mean[at or 0]))
    return np.array(found).T


@dataclass(frozen=True, slots=True)
class Learner:
    """What is believed of the calls of `asked` trajectories, once some were learned that they are among."""

    asked: Sequence[Trajectory]
    decisions: int
    corroboration: CorroborationConfig | None

    def believed(self, stored: Sequence[Trajectory]) -> NDArray[np.float64]:
        """Estimates from what is stored; shape (2, calls)."""
        config = LearningConfig(decisions=self.decisions)
        learned = learn(stored, make_embedder(), config=config, corroboration=self.corroboration)
        return estimates(learned, self.asked, {id(one): number for number, one in enumerate(stored)})


def rows(others: list[Trajectory], suspicious: list[Trajectory], decisions: int) -> Iterator[Row]:
    """The comparisons."""
    last = set(np.random.default_rng(0).permutation(len(others))[: len(suspicious)].tolist())
    early, late = (
        [one for number, one in enumerate(others) if (number in last) == is_late] for is_late in (False, True)
    )
    asked = [one for one in early[::EVERY] if one.success is not None]
    for name, corroboration in (("on", CorroborationConfig()), ("off", None)):
        learner = Learner(asked, decisions, corroboration)
        before = learner.believed(others)
        for judge in ("environment", "self"):
            uploads = [replace(one, judge=judge) for one in suspicious]
            yield row_of(judge, name, np.abs(learner.believed([*others, *uploads]) - before))
        yield row_of("others", name, np.abs(learner.believed([*early, *late]) - learner.believed(early)))


def row_of(judge: str, corroboration: str, moved: NDArray[np.float64]) -> Row:
    """Sums up what moved, shape (2, calls)."""
    success, choice = moved
    return Row(judge, corroboration, len(success), float(success.mean()), float(success.max()), float(choice.mean()))


def main(arguments: Sequence[str]) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with tau2.jsonl.gz")
    parser.add_argument("--quick", action="store_true", help="fit the choice to fewer decisions")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    read = read_trajectories([options.data / "tau2.jsonl.gz"])
    airline = [one for one in read if isinstance(one, Trajectory) and one.metadata.get("domain") == "airline"]
    others = [one for one in airline if SUSPICIOUS not in one.source]
    suspicious = [one for one in airline if SUSPICIOUS in one.source]
    found = list(rows(others, suspicious, 200 if options.quick else 2000))
    if options.json:
        sys.stdout.write(json.dumps([asdict(row) for row in found]) + "\n")
        return
    print_table(
        ["judged by", "corroboration", "calls", "success", "at most", "choice"],
        [
            [row.judge, row.corroboration, row.calls, *(f"{v:.4f}" for v in (row.success, row.most, row.choice))]
            for row in found
        ],
        title=f"{len(suspicious)} suspicious trajectories beside {len(others)} others",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
