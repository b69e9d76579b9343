"""How each candidate stands to what stored paths of tasks that sound alike did next, once aligned with this episode.

The words in which two tasks differ are exchanged in the stored path ("the green box" where this task says "the red
box").  The steps done so far are then aligned with it.  Where the alignment ends is where the stored path stands now.
It need not be certain: each path and each position counts by a softmax of how well it fits, by what was done, by the
state, and by whether what the task names was in sight there as it is now.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selector.alignment import Alignment
from selector.call_table import CallTable, share_named
from selector.in_sight import Sights, SightTable
from selector.reading import words_of
from selector.situation import Situation
from selector.step_fits import StepFits
from selector.steps_before import StepsBefore
from selector.task_words import Bridge, Pairs, differing, exchanged, long_first

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

SAME_TOOL = 0.1
IN_SIGHT = 0.5
OUT_OF_SIGHT = 1.0
STATE_SHARPNESS = 3.0
TEMPERATURE = 0.15
SOON = 4
SOON_DECAY = 0.7
FLOOR = 0.02
EXACT = 0.99
DONE = 0.5
LEAST_BELIEVED = 1e-4
SHARES = np.linspace(0.0, 1.0, 5)
SHARE_WIDTH = 0.2

_NEXT = (
    "paths do it next",
    "paths do it next (log)",
    "paths do exactly it next",
    "paths use its object next",
    "paths do it soon",
)
_EVER = (
    "paths ever do it",
    "paths ever do exactly it",
    "paths ever use its object",
    "paths still do it",
    "paths did it already",
)
PATH_RELATIONS = (
    *_NEXT,
    *(f"{name}, in this episode's words" for name in _NEXT),
    "paths use its tool next",
    "best path does it next",
    "best path does it soon",
    *_EVER,
    "paths do exactly it next, in the words of their own tasks",
    "missing of what paths do before it",
    "missing of what its tool does before it in paths",
    "of its tool it fits best what paths do next",
    "paths use its tool next with what is not offered",
    "share of the paths that is done",
    "done as often as paths do it",
    "its tool called as often as in paths",
    "named by the task as far as what its tool does in paths (log)",
)


@dataclass(frozen=True, slots=True)
class StoredPath:
    """A stored trajectory as an example: its task, its L tools in lower case and their arguments as words.

    `states_LD` are the vectors of the states before its steps, of the same embedder as the live state's.
    """

    task: str
    tools: tuple[str, ...]
    args: tuple[str, ...]
    states_LD: NDArray[np.floating]

    @property
    def named(self) -> tuple[float, ...]:
        """The share of the words of each step's arguments that its task names."""
        text = frozenset(words_of(self.task))
        return tuple(share_named(tuple(dict.fromkeys(words_of(one))), text) for one in self.args)


class PathBook:
    """The P stored paths of at most L steps that one task is compared with; remembers what its episode has shown.

    `bridges` lead from each path's own task to this one, `sights` are what the tasks name in the paths' states.  What
    is remembered changes no answer, only its price.
    """

    def __init__(
        self, task: str, paths: Sequence[StoredPath], bridges: Sequence[Bridge], sights: Sequence[Sights]
    ) -> None:
        told = [place for place, path in enumerate(paths) if path.tools]
        paths, bridges = [paths[place] for place in told], [bridges[place] for place in told]
        self._costs_P = np.array([bridge.cost for bridge in bridges])
        self._table = CallTable(task)
        self._args_P = [
            [exchanged(args, bridge.pairs) for args in path.args] for path, bridge in zip(paths, bridges, strict=True)
        ]
        self._tools_P = [path.tools for path in paths]
        lengths_P = np.array([len(tools) for tools in self._tools_P], np.int64)
        self._is_step = np.arange(lengths_P.max(initial=0)) < lengths_P[:, None]
        self._steps_PL = np.zeros(self._is_step.shape, np.int64)
        for path in range(len(lengths_P)):
            self._steps_PL[path, : lengths_P[path]] = self._columns(path, ())
        self._own = len(self._table)
        self._told_PL = self._as_told(paths)
        self._before = StepsBefore.of(self._tools_P, self._is_step)
        named_N = np.array([share for path in paths for share in path.named], np.float64)
        self._near_SN = np.maximum(0.0, 1.0 - np.abs(named_N - SHARES[:, None]) / (SHARES[1] - SHARES[0]))
        states = [path.states_LD for path in paths]
        self._states_ND = np.concatenate(states).astype(np.float32) if states else np.zeros((0, 0), np.float32)
        self._weights_PL, self._tool_weights_P = self._informative()
        self._alignment = Alignment(self._weights_PL)
        pairs = [bridge.pairs for bridge in bridges]
        self._sights = SightTable([sights[place] for place in told], pairs, self._is_step.shape[1])
        self._bound: dict[tuple[int, Pairs], Numbers] = {}

    def relations(self, situation: Situation, state_D: NDArray[np.floating]) -> Floats:
        """How each candidate stands to the paths; shape (K, len(PATH_RELATIONS)), about 0 to 1 each.

        `state_D` is the vector of the present state.  All 0 where there are no paths.
        """
        if not self._is_step.any():
            return np.zeros((len(situation.candidates), len(PATH_RELATIONS)))
        self._align(situation)
        believed_PL = self._believed(situation, state_D)
        bound_PL = self._in_words_of(situation, believed_PL)
        rows, done = self._rows(situation)
        steps = self._step_fits(rows, bound_PL, believed_PL)
        coming, bound = (self._coming(rows, steps_PL, believed_PL) for steps_PL in (self._steps_PL, bound_PL))
        best = self._of_best(rows, believed_PL)
        fits = np.maximum(coming[:, 0], bound[:, 0])
        parts = [
            coming,
            bound,
            best,
            self._ever(rows, believed_PL),
            self._of_other_tasks(rows, believed_PL)[:, None],
            self._missing(done, steps),
            self._among_its_tools(rows, fits, best[:, 0]),
            np.full((len(rows), 1), self._share_done(believed_PL)),
            self._used_up(rows, done, steps),
            self._named_alike(rows, steps.weights_N)[:, None],
        ]
        return np.concatenate(parts, axis=1)

    def _rows(self, situation: Situation) -> tuple[Numbers, Numbers]:
        """The rows of the candidates (K,) and of the steps done (T,), asked for at once: a full table begins anew."""
        calls = zip(situation.candidates, situation.calls, strict=True)
        offered = [(candidate.tool.lower(), call.action) for candidate, call in calls]
        done = [(step.tool.lower(), step.action) for step in situation.history]
        rows = self._table.rows([*offered, *done])
        return rows[: len(offered)], rows[len(offered) :]

    def _align(self, situation: Situation) -> None:
        done = [(step.tool.lower(), step.action) for step in situation.history]
        kept = self._alignment.keep(done)
        if kept == len(done):
            return
        rows = self._table.rows(done[kept:])
        alike = self._table.alike(rows, slice(self._own)).astype(np.float64)
        match_TU = np.where(
            self._table.is_same_tool(rows, slice(self._own)), SAME_TOOL + (1 - SAME_TOOL) * alike, -np.inf
        )
        for step, match_U in zip(done[kept:], match_TU, strict=True):
            weights_P = np.array([weights.get(step[0], 1.0) for weights in self._tool_weights_P])
            self._alignment.add(step, self._weights_PL * match_U[self._steps_PL], weights_P)

    def _informative(self) -> tuple[Floats, list[dict[str, float]]]:
        """How much each step tells of where a path stands, (P, L), and a call of each tool: less if a path has many."""
        weights_P = [{tool: 1.0 / times for tool, times in Counter(tools).items()} for tools in self._tools_P]
        weights_PL = np.ones(self._is_step.shape)
        for row, weights, tools in zip(weights_PL, weights_P, self._tools_P, strict=True):
            row[: len(tools)] = [weights[tool] for tool in tools]
        return weights_PL, weights_P

    def _believed(self, situation: Situation, state_D: NDArray[np.floating]) -> Floats:
        """How far each path is believed to stand before each of its steps now; shape (P, L), 1 in all."""
        fit_PL = self._alignment.scores[:, :-1] - self._costs_P[:, None]
        fit_PL += IN_SIGHT * self._table.shares_in(situation.state)[self._steps_PL]
        fit_PL -= OUT_OF_SIGHT * self._sights.differing(situation.state)
        fit_PL[self._is_step] += STATE_SHARPNESS * (self._states_ND @ state_D)
        fit_PL[~self._is_step] = -np.inf
        believed_PL = np.exp((fit_PL - fit_PL.max()) / TEMPERATURE)
        return np.asarray(believed_PL / believed_PL.sum(), np.float64)

    def _in_words_of(self, situation: Situation, believed_PL: Floats) -> Numbers:
        """The paths in the words of this episode: what a path calls otherwise than the step aligned with it did."""
        bound_PL = self._steps_PL.copy()
        places_P = believed_PL.argmax(axis=1).tolist()
        for path in np.flatnonzero(believed_PL.sum(axis=1) > LEAST_BELIEVED).tolist():
            pairs = self._bindings(situation, path, places_P[path])
            if not pairs:
                continue
            known = self._bound.get((path, pairs))
            if known is None:
                known = self._bound[path, pairs] = self._columns(path, pairs)
            bound_PL[path, : len(known)] = known
        return bound_PL

    def _bindings(self, situation: Situation, path: int, place: int) -> Pairs:
        """Pairs of phrases: what the path says, and what the steps done say where they are aligned."""
        table: dict[str, str] = {}
        for done, stored in self._alignment.pairs(path, place):
            words = " ".join(words_of(situation.history[done].args))
            table.update(differing(self._args_P[path][stored], words))
        return long_first(table.items())

    def _columns(self, path: int, pairs: Pairs) -> Numbers:
        """The columns of a path's calls, with words exchanged in their arguments; shape (L of the path,)."""
        args = (exchanged(one, pairs) for one in self._args_P[path])
        calls = zip(self._tools_P[path], args, strict=True)
        return self._table.columns([(tool, f"{tool} {words}".strip()) for tool, words in calls])

    def _coming(self, rows: Numbers, steps_PL: Numbers, believed_PL: Floats) -> Floats:
        """What the next steps of the paths are; shape (K, len(_NEXT))."""
        soon_PL = _later(believed_PL, self._is_step)
        ahead = soon_PL > LEAST_BELIEVED
        columns, member = np.unique(steps_PL[ahead], return_inverse=True)
        next_U = np.bincount(member, believed_PL[ahead])
        soon_U = np.bincount(member, soon_PL[ahead])
        alike_KU, same_KU = self._table.alike(rows, columns), self._table.is_same_tool(rows, columns)
        fits_KU = same_KU * alike_KU**2
        next_K = fits_KU @ next_U
        logs_K = np.log(next_K + FLOOR) - np.log(FLOOR)
        exact_K = (fits_KU > EXACT) @ next_U
        return np.stack([next_K, logs_K, exact_K, alike_KU @ next_U, fits_KU @ soon_U], axis=1)

    def _of_best(self, rows: Numbers, believed_PL: Floats) -> Floats:
        """Whether the tool comes next, and what the most believed path does next and soon; shape (K, 3)."""
        path, place = np.unravel_index(int(np.argmax(believed_PL)), believed_PL.shape)
        ahead = self._steps_PL[path, place : place + SOON][self._is_step[path, place : place + SOON]]
        columns, first = np.unique(ahead, return_index=True)
        fits_KU = self._fits(rows, columns)
        tools_K = self._table.of_tools(rows, self._steps_PL[self._is_step], believed_PL[self._is_step])
        next_K = fits_KU @ (columns == ahead[0])
        return np.stack([tools_K, next_K, fits_KU @ SOON_DECAY**first], axis=1)

    def _ever(self, rows: Numbers, believed_PL: Floats) -> Floats:
        """Whether the paths do it at all, have its object at all, do it still, did it already; shape (K, 5)."""
        passed_PL = np.cumsum(believed_PL, axis=1)
        all_PL = np.broadcast_to(passed_PL[:, -1:], passed_PL.shape)
        all_U, still_U, did_U = (self._most(values) for values in (all_PL, passed_PL, all_PL - passed_PL))
        own = slice(self._own)
        alike_KU = self._table.alike(rows, own)
        fits_KU = self._table.is_same_tool(rows, own) * alike_KU**2
        columns = [fits_KU * all_U, (fits_KU > EXACT) * all_U, alike_KU * all_U, fits_KU * still_U, fits_KU * did_U]
        return np.stack([column.max(axis=1) for column in columns], axis=1)

    def _of_other_tasks(self, rows: Numbers, believed_PL: Floats) -> Floats:
        """How far it is what paths do next word for word, where this task asks for something else; shape (K,)."""
        counts = (self._told_PL != self._steps_PL) & (believed_PL > LEAST_BELIEVED)
        columns, member = np.unique(self._told_PL[counts], return_inverse=True)
        next_U = np.bincount(member, believed_PL[counts], len(columns))
        return np.asarray((self._fits(rows, columns) > EXACT) @ next_U, np.float64)

    def _step_fits(self, rows: Numbers, bound_PL: Numbers, believed_PL: Floats) -> StepFits:
        columns_U, member_N = np.unique(bound_PL[self._is_step], return_inverse=True)
        weights_PL = np.broadcast_to(believed_PL.sum(axis=1, keepdims=True), believed_PL.shape)
        return StepFits(columns_U, member_N, self._fits(rows, columns_U), weights_PL[self._is_step])

    def _missing(self, done: Numbers, steps: StepFits) -> Floats:
        """The share of what paths do before it, and of what its tool does before it, that is not done; shape (K, 2)."""
        is_done_U = self._fits(done, steps.columns_U).max(axis=0, initial=0.0) > DONE
        is_done_PL = np.zeros(self._is_step.shape)
        is_done_PL[self._is_step] = is_done_U[steps.member_N]
        likely_K = steps.fits_KU @ steps.sums(steps.weights_N) + FLOOR
        shares = (missing_PL[self._is_step] for missing_PL in self._before.missing(is_done_PL))
        counted = [steps.fits_KU @ steps.sums(steps.weights_N * share) / likely_K for share in shares]
        return np.stack(counted, axis=1)

    def _used_up(self, rows: Numbers, done: Numbers, steps: StepFits) -> Floats:
        """Whether it, and its tool, was done as often as the paths do it in all, in [0, 1]; shape (K, 2)."""
        times_K = (steps.fits_KU > EXACT) @ steps.sums(steps.weights_N)
        tool_times_K = self._table.of_tools(rows, steps.columns_U[steps.member_N], steps.weights_N)
        done_K = (rows[:, None] == done[None, :]).sum(axis=1)
        tool_done_K = (self._table.row_tools(rows)[:, None] == self._table.row_tools(done)[None, :]).sum(axis=1)
        used = [(done_K > 0) * (done_K + 1.0 - times_K), tool_done_K + 1.0 - tool_times_K]
        return np.asarray(np.clip(np.stack(used, axis=1), 0.0, 1.0), np.float64)

    def _named_alike(self, rows: Numbers, weights_N: Floats) -> Floats:
        """How usual it is for its tool in the paths that as much of its words is named by the task; shape (K,).

        A path that acts on what its own task names says that here, too, the tool acts on what the task names.  In
        [0, ln(1 + 1 / FLOOR)]: the log of the mean of a kernel over shares, half as much as usual where no path has
        the tool.
        """
        columns_N, shares_K = self._steps_PL[self._is_step], self._table.row_shares(rows)
        total_K = self._table.of_tools(rows, columns_N, weights_N)
        usual_K = np.zeros(len(rows))
        for share, near_N in zip(SHARES, self._near_SN, strict=True):
            usual_K += self._table.of_tools(rows, columns_N, weights_N * near_N) * _kernel(shares_K - share)
        known_K = np.where(total_K > LEAST_BELIEVED, usual_K / np.maximum(total_K, LEAST_BELIEVED), 0.5)
        return np.asarray(np.log(known_K + FLOOR) - np.log(FLOOR), np.float64)

    def _among_its_tools(self, rows: Numbers, fits_K: Floats, tools_K: Floats) -> Floats:
        """How it compares with what its tool could do, and how far its tool lacks what it needs; shape (K, 2)."""
        names, tool_of = np.unique(self._table.row_tools(rows), return_inverse=True)
        best_M = np.zeros(len(names))
        np.maximum.at(best_M, tool_of, fits_K)
        best_K = best_M[tool_of]
        return np.stack([fits_K / (best_K + FLOOR), np.maximum(tools_K - best_K, 0.0)], axis=1)

    def _share_done(self, believed_PL: Floats) -> float:
        """How much of the paths lies behind where they stand now, in [0, 1]."""
        lengths = self._is_step.sum(axis=1, keepdims=True)
        return float((believed_PL * np.arange(believed_PL.shape[1]) / lengths).sum())

    def _as_told(self, paths: Sequence[StoredPath]) -> Numbers:
        """The columns of the steps as they were stored; shape (P, L)."""
        told_PL = np.zeros_like(self._steps_PL)
        for row, path in zip(told_PL, paths, strict=True):
            calls = zip(path.tools, (" ".join(words_of(args)) for args in path.args), strict=True)
            row[: len(path.tools)] = self._table.columns([(tool, f"{tool} {args}".strip()) for tool, args in calls])
        return told_PL

    def _fits(self, rows: Numbers, columns: Numbers | slice) -> NDArray[np.float32]:
        """How well rows fit columns: 0 for another tool, else how alike; shape (rows, columns)."""
        alike = self._table.alike(rows, columns)
        return np.asarray(self._table.is_same_tool(rows, columns) * alike * alike, np.float32)

    def _most(self, values_PL: Floats) -> NDArray[np.float32]:
        """The greatest value of each call's steps in each path, summed over the paths; shape (U,)."""
        most_PU = np.zeros((len(values_PL), self._own))
        paths, _ = np.nonzero(self._is_step)
        np.maximum.at(most_PU, (paths, self._steps_PL[self._is_step]), values_PL[self._is_step])
        return np.asarray(most_PU.sum(axis=0), np.float32)


def _kernel(apart: Floats) -> Floats:
    """How near two shares are, in (0, 1]."""
    return np.asarray(np.exp(-((apart / SHARE_WIDTH) ** 2)), np.float64)


def _later(believed_PL: Floats, is_step: NDArray[np.bool_]) -> Floats:
    """How far each step is among the next few, a later one counting less; shape (P, L)."""
    found = np.zeros(believed_PL.shape)
    for ahead in range(min(SOON, believed_PL.shape[1])):
        found[:, ahead:] += SOON_DECAY**ahead * believed_PL[:, : believed_PL.shape[1] - ahead]
    return np.where(is_step, found, 0.0)
