"""Whether what the selector says of itself is true: propensities, credible intervals, and confidence on real logs.

    python benchmarks/calibration.py [--data ../shared/data] [--quick] [--json] [--figure calibration.png]
                                     [--set NAME ... | --no-logs]

Propensities: many random posteriors of 2 to 50 unlike arms, each against 400,000 simulated choices and, for `draw`
itself, 4,000 calls; `noise` is the largest error that as many simulated choices make where the propensity is exact.
Intervals: the share of simulated truths inside credible intervals of 50, 80, 90 and 95 %, where the prior is known and
where `build_hierarchy` finds it from the simulated logs (30 tools in 8 state clusters).  Logs: the expected calibration
error of the engine's probabilities on families that nothing was learned from (benchmarks/next_tool.py).  Seed 0.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from next_tool import SETS, run
from numpy.typing import NDArray
from scipy.stats import beta as beta_distribution
from scipy.stats import norm

from selector.hierarchy import build_hierarchy
from selector.posteriors import BetaPosterior, beta_from_evidence
from selector.propensity import choice_probabilities
from selector.thompson import draw
from trajstore.embedding import HASHED

Floats = NDArray[np.float64]
LEVELS = (0.5, 0.8, 0.9, 0.95)
BLOCK = 40_000
TOOLS, CLUSTERS = 30, 8
EVIDENCE = (("any", 0, 10_000), ("0 calls", 0, 0), ("1–4 calls", 1, 4), ("5 or more", 5, 10_000))


@dataclass(frozen=True, slots=True)
class Propensities:
    """Errors of probabilities against simulated choices, over all arms of all posteriors.

    `largest_error` beside `noise`, the mean and the 95th percentile of the largest error that chance alone makes;
    `deviation` is the root mean square of the errors in standard errors of the simulation (1 where they are exact).
    """

    what: str
    posteriors: int
    choices: int
    largest_error: float
    noise: float
    noise_95: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of truths inside the intervals of a level, with its standard error over simulated logs, and their width."""

    what: str
    evidence: str
    level: float
    share: float
    standard_error: float
    width: float


def main() -> None:
    """Run the three parts and print tables, or JSON lines."""
    options = parse()
    rng = np.random.default_rng(0)
    for result in propensities(rng, *((12, 100_000, 3) if options.quick else (100, 400_000, 10))):
        print(json.dumps(asdict(result)), flush=True) if options.json else show_propensities(result)
    covered_shares = list(coverages(rng, 60 if options.quick else 400))
    if options.json:
        print("\n".join(json.dumps(asdict(one)) for one in covered_shares), flush=True)
    else:
        show_coverage(covered_shares)
    if options.figure:
        draw_figure(covered_shares, options.figure)
    for name in () if options.no_logs else options.set or (("tau2 retail",) if options.quick else tuple(SETS)):
        show_logs(name, options)


def propensities(rng: np.random.Generator, posteriors: int, choices: int, called: int) -> Iterator[Propensities]:
    """Probabilities against simulation: the integral, `draw` itself, and the Gaussian in place of the Beta."""
    made = [random_posterior(rng) for _ in range(posteriors)]
    claims = [choice_probabilities(one.mean, one.standard_deviation(), exploration=0.02) for one in made]
    gaussian = [simulate(rng, one, choices, gaussian_winners) for one in made]
    yield compared("choice_probabilities", claims, gaussian, choices, rng)
    some = [draw(one, np.ones(len(one.mean), np.bool_), rng, exploration=0.02).propensities for one in made[:called]]
    counted = [called_draws(rng, one, 4_000) for one in made[:called]]
    yield compared("draw", some, counted, 4_000, rng)
    betas = [simulate(rng, one, choices, beta_winners) for one in made]
    yield compared("Gaussian for Beta", claims, betas, choices, rng)


def random_posterior(rng: np.random.Generator) -> BetaPosterior:
    """2 to 50 arms whose evidence differs by up to four orders of magnitude."""
    count = int(np.exp(rng.uniform(np.log(2.0), np.log(51.0))))
    evidence, rates = 10.0 ** rng.uniform(-1.0, 3.0, count), rng.beta(2.0, 2.0, count)
    return beta_from_evidence(np.full(count, 0.5), 2.0, evidence * rates, evidence * (1.0 - rates))


def gaussian_winners(rng: np.random.Generator, posterior: BetaPosterior, choices: int) -> NDArray[np.int64]:
    """The best arm of each Gaussian draw."""
    shape = (choices, len(posterior.mean))
    return np.argmax(rng.normal(posterior.mean, posterior.standard_deviation(), shape), axis=1)


def beta_winners(rng: np.random.Generator, posterior: BetaPosterior, choices: int) -> NDArray[np.int64]:
    """The best arm of each draw from the Beta posteriors themselves."""
    return np.argmax(rng.beta(posterior.alpha, posterior.beta, (choices, len(posterior.mean))), axis=1)


def simulate(
    rng: np.random.Generator,
    posterior: BetaPosterior,
    choices: int,
    winners: Callable[[np.random.Generator, BetaPosterior, int], NDArray[np.int64]],
) -> Floats:
    """How often each arm is chosen, 2 % of the choices being uniform; shape (K,), sums to 1."""
    count, counts = len(posterior.mean), np.zeros(len(posterior.mean))
    for start in range(0, choices, BLOCK):
        size = min(BLOCK, choices - start)
        chosen = np.where(rng.random(size) < 0.02, rng.integers(count, size=size), winners(rng, posterior, size))
        counts += np.bincount(chosen, minlength=count)
    return counts / choices


def called_draws(rng: np.random.Generator, posterior: BetaPosterior, choices: int) -> Floats:
    """How often `draw` chooses each arm; shape (K,), sums to 1."""
    allowed = np.ones(len(posterior.mean), np.bool_)
    arms = [draw(posterior, allowed, rng, exploration=0.02).arm for _ in range(choices)]
    return np.bincount(arms, minlength=len(allowed)) / choices


def compared(
    what: str, claims: list[Floats], frequencies: list[Floats], choices: int, rng: np.random.Generator
) -> Propensities:
    """Claimed probabilities beside frequencies, and beside the noise of so many exact choices."""
    claimed, seen = np.concatenate(claims), np.concatenate(frequencies)
    scale = np.sqrt(claimed * (1.0 - claimed) / choices)
    largest = [
        max(float(np.abs(rng.multinomial(choices, claim / claim.sum()) / choices - claim).max()) for claim in claims)
        for _ in range(200)
    ]
    return Propensities(
        what,
        len(claims),
        choices,
        float(np.abs(claimed - seen).max()),
        float(np.mean(largest)),
        float(np.quantile(largest, 0.95)),
        float(np.sqrt(np.mean(((claimed - seen) / scale) ** 2))),
    )


def coverages(rng: np.random.Generator, logs: int) -> Iterator[Coverage]:
    """Coverage with a known prior and with one that is found from the logs, by how much evidence there is."""
    simulated = [simulate_log(rng) for _ in range(logs)]
    for what, build in (("known prior", known_prior), ("hierarchy", found_prior)):
        posteriors = [build(*one) for one in simulated]
        for kind, interval in (("Beta quantiles", beta_interval), ("bounds()", gaussian_interval)):
            for evidence, low, high in EVIDENCE:
                rows = [(counts.ravel() >= low) & (counts.ravel() <= high) for _, _, _, counts in simulated]
                for level in LEVELS:
                    inside = [
                        covered(one[0][place], *(end[place] for end in interval(posterior, level)))
                        for one, posterior, place in zip(simulated, posteriors, rows, strict=True)
                        if place.any()
                    ]
                    yield summed_up(f"{what}, {kind}", evidence, level, np.array(inside))


def summed_up(what: str, evidence: str, level: float, inside: Floats) -> Coverage:
    """Shares and widths of simulated logs, shape (logs, 2), as one."""
    error = float(inside[:, 0].std(ddof=1) / np.sqrt(len(inside)))
    return Coverage(what, evidence, level, float(inside[:, 0].mean()), error, float(inside[:, 1].mean()))


def simulate_log(rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
    """Truth (C·T,), the tools' means (T,), successes and calls (C, T): mean 0.6, tools and clusters unlike."""
    tools_T = rng.beta(6.0, 4.0, TOOLS)
    truth_CT = rng.beta(8.0 * tools_T, 8.0 * (1.0 - tools_T), (CLUSTERS, TOOLS))
    counts_CT = rng.geometric(1.0 / rng.uniform(2.0, 20.0, TOOLS), (CLUSTERS, TOOLS)) - 1
    return truth_CT.ravel(), tools_T, rng.binomial(counts_CT, truth_CT).astype(float), counts_CT.astype(float)


def known_prior(truth: Floats, tools_T: Floats, successes_CT: Floats, counts_CT: Floats) -> BetaPosterior:
    """Posteriors on the very prior that the truth was drawn from; shape (C·T,)."""
    prior = np.tile(tools_T, CLUSTERS)
    return beta_from_evidence(prior, 8.0, successes_CT.ravel(), (counts_CT - successes_CT).ravel())


def found_prior(truth: Floats, tools_T: Floats, successes_CT: Floats, counts_CT: Floats) -> BetaPosterior:
    """Posteriors on the tools' means and the weights that `build_hierarchy` finds; shape (C·T,)."""
    found = build_hierarchy(successes_CT, counts_CT, np.zeros(TOOLS, np.int64))
    prior = np.tile(found.tools_T, CLUSTERS)
    weights = np.tile(found.weights_T, CLUSTERS)
    return beta_from_evidence(prior, weights, successes_CT.ravel(), (counts_CT - successes_CT).ravel())


def beta_interval(posterior: BetaPosterior, level: float) -> tuple[Floats, Floats]:
    """Quantiles of the Beta posterior."""
    low, high = beta_distribution.interval(level, posterior.alpha, posterior.beta)
    return np.asarray(low), np.asarray(high)


def gaussian_interval(posterior: BetaPosterior, level: float) -> tuple[Floats, Floats]:
    """`bounds` at as many deviations as the Gaussian needs for this level."""
    return posterior.bounds(float(norm.ppf(0.5 + level / 2.0)))


def covered(truth: Floats, low: Floats, high: Floats) -> tuple[float, float]:
    """Share of truths inside, and the mean width."""
    return float(((truth >= low) & (truth <= high)).mean()), float((high - low).mean())


def show_logs(name: str, options: argparse.Namespace) -> None:
    """Calibration on one set of real logs: the engine, and its best rival by log-loss."""
    asked = argparse.Namespace(data=options.data, families="held-out", embedder=HASHED)
    found = run(name, asked)
    best = min((one for one in found.methods if one != "engine"), key=lambda one: found.methods[one].log_loss)
    for method in ("engine", best):
        one = found.methods[method]
        row = {"set": name, "decisions": found.decisions, "method": method, "ece": one.ece, "log_loss": one.log_loss}
        words = f"{name:20} {found.decisions:6,} decisions, {method:12} ece {one.ece:.3f}, log-loss {one.log_loss:.3f}"
        print(json.dumps(row) if options.json else words, flush=True)


def show_propensities(one: Propensities) -> None:
    """One row."""
    print(
        f"{one.what:22} {one.posteriors:4} posteriors x {one.choices:7,} choices: "
        f"largest error {one.largest_error:.5f}, by chance {one.noise:.5f} (at most {one.noise_95:.5f} in 95 %), "
        f"errors in standard errors {one.deviation:.3f}",
        flush=True,
    )


def show_coverage(covered_shares: list[Coverage]) -> None:
    """One row for each prior, interval and amount of evidence."""
    for (what, evidence), rows in groupby(covered_shares, lambda one: (one.what, one.evidence)):
        cells = (f"{100 * one.level:.0f} %: {100 * one.share:5.1f} ± {196 * one.standard_error:.1f}" for one in rows)
        print(f"{what:28} {evidence:10} {'   '.join(cells)}", flush=True)


def draw_figure(covered_shares: list[Coverage], path: Path) -> None:
    """Share of truths covered beside the level asked for."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a figure is asked for

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - as above

    figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
    axes.plot([0.45, 1.0], [0.45, 1.0], color="grey", linewidth=0.8)
    for what in sorted({one.what for one in covered_shares}):
        rows = [one for one in covered_shares if one.what == what and one.evidence == "any"]
        errors = [2.0 * one.standard_error for one in rows]
        axes.errorbar([one.level for one in rows], [one.share for one in rows], errors, marker="o", label=what)
    axes.set_xlabel("level of the credible interval")
    axes.set_ylabel("share of truths inside")
    axes.legend()
    figure.savefig(path, dpi=150)


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--set", action="append", choices=list(SETS), help="only these logs; several times for several")
    parser.add_argument("--quick", action="store_true", help="fewer posteriors, choices, logs and sets")
    parser.add_argument("--no-logs", action="store_true", help="simulations only")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--figure", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
