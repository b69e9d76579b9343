"""What loop rules would have forbidden on real logs: steps of successful trajectories (wrongly), and true loops.

    python benchmarks/loops_on_logs.py [--data ../shared/data] [--families held-out|tuning|all] [--quick] [--json]
                                       [--figure loops.png]

A step is forbidden where its tool (or, for the rule on grounded actions, its very action) is masked by what came before
it; `with news` counts those that made a call or saw an observation for the first time.  A true loop is an unbroken
sequence of equal calls without an error, at least `--loop` long (20; InterCode stops its agents after 10, see
`--loop 8`); it is caught where its tool is masked before it ends.  Thresholds were chosen on families whose CRC-32 is
no multiple of 3 (`--families tuning`); the others are reported.
"""

import argparse
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selector.loops import LoopConfig, candidates_to_mask, find_loop, repeated_here
from selector.situation import Situation
from trajstore.embedding import HashedEmbedder
from trajstore.experience import Playback, play_back
from trajstore.ingest import Rejection, read_trajectories
from trajstore.render import PastStep
from trajstore.schema import Candidate, Trajectory

FILES = ("tau2", "tau1", "agentrx", "bfcl", "intercode", "hotpot")
DOMAINS = ("tau2", "intercode")
NEVER = 10_000
Likeness = NDArray[np.float64]
Rule = Callable[[Situation, Likeness], bool]


@dataclass(slots=True)
class Tally:
    """What one rule did on one set: steps it forbade of successful trajectories, and the loops that it caught.

    `forbidden_news` are the forbidden steps that brought something: a call or an observation that was new.
    """

    steps: int = 0
    forbidden: int = 0
    forbidden_news: int = 0
    trajectories: int = 0
    hindered: int = 0
    loops: int = 0
    caught_after: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, float | int]:
        """Counts, shares in per cent, and the calls that were made before a caught loop was masked."""
        after = self.caught_after or [0]
        return {
            "steps": self.steps,
            "forbidden_percent": 100.0 * self.forbidden / max(self.steps, 1),
            "forbidden_steps": self.forbidden,
            "forbidden_news": self.forbidden_news,
            "successes": self.trajectories,
            "hindered_successes": self.hindered,
            "loops": self.loops,
            "caught": len(self.caught_after),
            "median_calls_before": float(np.median(after)),
            "most_calls_before": max(after),
        }


def main() -> None:
    """Run every rule over every set and print a table, or JSON lines."""
    options = parse()
    results = {name: tally_set(found, options.loop) for name, found in read_sets(options)}
    for name, tallies in results.items():
        for rule, tally in tallies.items():
            print_row(name, rule, tally.summary(), as_json=options.json)
    if options.figure:
        draw(results, options.figure)


def tally_set(trajectories: Sequence[Trajectory], shortest: int) -> dict[str, Tally]:
    """Every rule over one set of trajectories."""
    tallies = {name: Tally() for name in RULES}
    for trajectory in trajectories:
        judged = forbidden_steps(play_back(trajectory))
        loops = list(equal_calls(trajectory, shortest))
        for name, forbidden in judged.items():
            count(tallies[name], trajectory, forbidden, loops)
    return tallies


def count(tally: Tally, trajectory: Trajectory, forbidden: NDArray[np.bool_], loops: list[tuple[int, int]]) -> None:
    """Add one trajectory to a tally."""
    if trajectory.success:
        is_call = np.array([step.kind == "tool" for step in trajectory.steps], np.bool_)
        tally.forbidden_news += int((forbidden & is_call & news(play_back(trajectory).past)).sum())
        tally.steps += int(is_call.sum())
        tally.forbidden += int(forbidden[is_call].sum())
        tally.trajectories += 1
        tally.hindered += bool(forbidden[is_call].any())
    for begin, end in loops:
        tally.loops += 1
        caught = np.flatnonzero(forbidden[begin:end])
        if len(caught):
            tally.caught_after.append(int(caught[0]))


def news(past: Sequence[PastStep]) -> NDArray[np.bool_]:
    """Whether each step made a call or saw an observation for the first time with that call; shape (T,)."""
    keys = [(step.tool, step.args, step.observation) for step in past]
    first = {key: at for at, key in reversed(list(enumerate(keys)))}
    return np.array([first[key] == at for at, key in enumerate(keys)], np.bool_)


def forbidden_steps(playback: Playback) -> dict[str, NDArray[np.bool_]]:
    """For each rule, whether it forbade what was done at each step; shape (T,)."""
    steps, past = playback.trajectory.steps, playback.past
    found = {name: np.zeros(len(steps), np.bool_) for name in RULES}
    vectors = STATES.of(past)
    for at, step in enumerate(steps):
        if step.kind != "tool" or not at:
            continue
        situation = Situation("", step.state, past[:at], (Candidate(step.tool, step.args),))
        likeness = vectors[:at] @ vectors[at]
        for name, rule in RULES.items():
            found[name][at] = rule(situation, likeness)
    return found


def bare(situation: Situation) -> Situation:
    """The same situation with tools for candidates."""
    tools = tuple(Candidate(candidate.tool) for candidate in situation.candidates)
    return Situation(situation.task, situation.state, situation.history, tools)


def loop_rule(config: LoopConfig, *, uses_likeness: bool = False) -> Rule:
    """Whether the bare tool is masked."""

    def masks(situation: Situation, likeness: Likeness) -> bool:
        loop = find_loop(situation.history, config, likeness if uses_likeness else None)
        return loop is not None and bool(candidates_to_mask(bare(situation), loop))

    return masks


def action_rule(repeats: int) -> Rule:
    """Whether the very action is masked, as if it had been offered with its arguments."""
    config = LoopConfig(action_repeats=repeats)
    return lambda situation, _: bool(repeated_here(situation, config))


def only(**settings: int) -> LoopConfig:
    """Settings with every rule off but those named."""
    return LoopConfig(**{"tool_repeats": NEVER, "cycle_repeats": NEVER, "stalled_steps": NEVER, **settings})


def rules() -> Mapping[str, Rule]:
    """The rules that are compared, by name; the last are all together, as the settings have them."""
    same = {f"same call x{n}": loop_rule(only(tool_repeats=n)) for n in (2, 3, 4, 5, 6)}
    cycles = {f"cycle x{n}": loop_rule(only(cycle_repeats=n)) for n in (2, 3, 4)}
    stalls = {f"no progress {n}": loop_rule(only(stalled_steps=n), uses_likeness=True) for n in (4, 6, 8)}
    actions = {f"same action here x{n}": action_rule(n) for n in (2, 3, 4)}
    together = {"all, as set": loop_rule(LoopConfig(), uses_likeness=True)}
    return same | cycles | stalls | actions | together


class StateVectors:
    """Vectors of states, each embedded once."""

    def __init__(self) -> None:
        self._embedder = HashedEmbedder(256)
        self._known: dict[str, NDArray[np.float32]] = {}

    def of(self, past: Sequence[PastStep]) -> NDArray[np.float32]:
        """Vectors of the states before each step, shape (T, D)."""
        new = sorted({step.state for step in past} - set(self._known))
        self._known.update(zip(new, self._embedder.embed(new), strict=True))
        return np.array([self._known[step.state] for step in past], np.float32).reshape(len(past), -1)


RULES = rules()
STATES = StateVectors()


def equal_calls(trajectory: Trajectory, shortest: int) -> Iterator[tuple[int, int]]:
    """Where an unbroken sequence of equal calls without an error begins and ends."""
    past, at = play_back(trajectory).past, 0
    for (_, _, failed, is_tool), steps in groupby(
        zip(past, trajectory.steps, strict=True),
        lambda pair: (pair[0].tool, pair[0].args, pair[0].failed, pair[1].kind == "tool"),
    ):
        length = len(list(steps))
        if length >= shortest and is_tool and not failed:
            yield at, at + length
        at += length


def read_sets(options: argparse.Namespace) -> Iterator[tuple[str, list[Trajectory]]]:
    """Trajectories of the families asked for, by file and domain."""
    for file in FILES:
        found = read_trajectories([str(options.data / f"{file}.jsonl.gz")])
        kept = [one for one in found if not isinstance(one, Rejection) and is_asked_for(one, options.families)]
        kept = kept[:: max(1, len(kept) // 150)] if options.quick else kept
        sets: dict[str, list[Trajectory]] = {}
        for one in kept:
            sets.setdefault(f"{file} {one.metadata.get('domain', '')}" if file in DOMAINS else file, []).append(one)
        yield from sorted(sets.items())


def is_asked_for(trajectory: Trajectory, families: str) -> bool:
    """Whether the trajectory's family is among those asked for."""
    is_held_out = zlib.crc32(trajectory.task.family.encode()) % 3 == 0
    return families == "all" or is_held_out == (families == "held-out")


def print_row(name: str, rule: str, found: Mapping[str, float | int], *, as_json: bool) -> None:
    """One line for one rule on one set."""
    if as_json:
        print(json.dumps({"set": name, "rule": rule, **found}), flush=True)
        return
    forbidden = (
        f"forbids {found['forbidden_steps']:4.0f} of {found['steps']:5.0f} steps "
        f"({found['forbidden_percent']:.3f} %; {found['forbidden_news']:.0f} with news), "
        f"in {found['hindered_successes']:3.0f} of {found['successes']:4.0f} successes"
    )
    calls = f" after {found['median_calls_before']:.0f} (at most {found['most_calls_before']:.0f}) calls"
    caught = f"caught {found['caught']:.0f} of {found['loops']:.0f} loops{calls if found['caught'] else ''}"
    print(f"{name:24} {rule:20} {forbidden}; {caught}", flush=True)


def draw(results: Mapping[str, Mapping[str, Tally]], path: Path) -> None:
    """Share of steps of successful trajectories that each rule forbids, one line a set."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a figure is asked for

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - as above

    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for name, tallies in results.items():
        shares = [100.0 * tally.forbidden / max(tally.steps, 1) for tally in tallies.values()]
        axes.plot(list(tallies), shares, "o", alpha=0.7, label=name)
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_ylabel("steps of successes forbidden (%)")
    axes.tick_params(axis="x", rotation=60)
    figure.legend(fontsize=7, loc="outside right upper")
    figure.savefig(path, dpi=150)


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--families", choices=["held-out", "tuning", "all"], default="held-out")
    parser.add_argument("--loop", type=int, default=20, help="fewest equal calls of a true loop")
    parser.add_argument("--quick", action="store_true", help="about 150 trajectories a file")
    parser.add_argument("--json", action="store_true", help="one JSON object a set and rule")
    parser.add_argument("--figure", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
