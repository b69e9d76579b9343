"""What an experience holds without some of its trajectories: as if they had never been added.

Everything is numbered anew in the order of first use, so that no name, text or vector of what was removed stays.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trajstore.array_file import Array, Grown
from trajstore.contents import Contents

Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
SuffixKeys = Callable[[Sequence[int]], tuple[int, ...]]
OF_TRAJECTORIES = {
    "families": "trajectory family",
    "groups": "trajectory group",
    "peers": "trajectory peers",
    "sources": "trajectory source",
    "goals": "trajectory goal",
    "templates": "trajectory template",
}


def without(contents: Contents, gone_M: Flags, suffix_keys: SuffixKeys) -> Contents:
    """The contents without the trajectories that `gone_M` marks, shape (M,); `suffix_keys` number their suffixes."""
    arrays = {name: one.values if isinstance(one, Grown) else one for name, one in contents.arrays.items()}
    thinned = _Thinned(arrays, ~gone_M)
    names: dict[str, Sequence[str]] = {"ids": _chosen(contents.names["ids"], np.flatnonzero(~gone_M))}
    for name, column in OF_TRAJECTORIES.items():
        used = thinned.renumber(column)
        names[name] = _chosen(contents.names[name], used)
        if name == "goals":
            thinned.arrays["goals"] = arrays["goals"][used]
    thinned.repeat_by_row("goal", "source")
    moments = thinned.renumber("step moment")
    thinned.arrays |= {name: arrays[name][moments] for name in ("moments", "moment hashes")}
    names["tools"] = _chosen(contents.names["tools"], thinned.renumber_tools(suffix_keys))
    names["actions"] = _chosen(contents.names["actions"], thinned.renumber_actions())
    decisions = thinned.decisions(contents.decisions)
    grown = {name: Grown(np.ascontiguousarray(array), len(array)) for name, array in thinned.arrays.items()}
    return Contents(grown, names, decisions, thinned.weights())


class _Thinned:
    """Columns without the trajectories that are not kept; what they number is still as it was until renumbered."""

    def __init__(self, arrays: Mapping[str, Array], kept_M: Flags) -> None:
        owners = arrays["step trajectory"]
        self._kept_N = kept_M[owners]
        order_lengths = np.diff(arrays["trajectory order_end"], prepend=0)
        of_kind = {"step": self._kept_N, "trajectory": kept_M, "order": np.repeat(kept_M, order_lengths)}
        self.arrays: dict[str, Array] = {
            name: array[of_kind[name.split()[0]]] for name, array in arrays.items() if name.split()[0] in of_kind
        }
        self.arrays["states"] = arrays["states"][self._kept_N]
        self.arrays["step trajectory"] = (np.cumsum(kept_M) - 1)[self.arrays["step trajectory"]].astype(owners.dtype)
        row_lengths = np.diff(arrays["trajectory end"], prepend=0)
        self._order_lengths = order_lengths[kept_M]
        self.arrays["trajectory end"] = np.cumsum(row_lengths[kept_M], dtype=np.int64)
        self.arrays["trajectory order_end"] = np.cumsum(self._order_lengths, dtype=np.int64)

    def renumber(self, column: str) -> Numbers:
        """Number what a column names in the order of first use; returns the old numbers in that order."""
        used, self.arrays[column] = _renumbered(self.arrays[column])
        return used

    def repeat_by_row(self, *names: str) -> None:
        """Say of each row again what columns of its trajectory say."""
        owners = self.arrays["step trajectory"]
        for name in names:
            self.arrays[f"step {name}"] = self.arrays[f"trajectory {name}"][owners]

    def renumber_tools(self, suffix_keys: SuffixKeys) -> Numbers:
        """The same of tools, in rows and in the order of steps; suffixes are numbered by them."""
        tokens = self.arrays["order token"]
        used, tools = _renumbered(tokens // 2)
        fresh = 2 * tools + tokens % 2
        if np.array_equal(fresh, tokens):
            return used
        places = np.zeros(int(used.max(initial=0)) + 1, np.int64)
        places[used] = np.arange(len(used))
        self.arrays["step tool"] = places[self.arrays["step tool"]].astype(np.int32)
        self.arrays["order token"] = fresh.astype(np.int32)
        self.arrays["step suffix"] = self._suffixes(suffix_keys)
        return used

    def renumber_actions(self) -> Numbers:
        """The same of actions; one that only a later trajectory calls is unknown to the messages before it."""
        actions, called = self.arrays["step action"], self.arrays["order called"]
        used, self.arrays["step action"] = _renumbered(actions)
        size = int(max(actions.max(initial=-1), called.max(initial=-1))) + 1
        places, first_owner = np.full(size + 1, -1), np.full(size + 1, np.iinfo(np.int64).max)
        places[used] = np.arange(len(used))
        _, first = np.unique(self.arrays["step action"], return_index=True)
        first_owner[used] = self.arrays["step trajectory"][first]
        owners = np.repeat(np.arange(len(self._order_lengths)), self._order_lengths)
        is_known = first_owner[called] <= owners
        self.arrays["order called"] = np.where(is_known, places[called], -1).astype(np.int32)
        return used

    def decisions(self, decisions: Mapping[str, int]) -> dict[str, int]:
        """The rows of the decisions that are still there."""
        places = np.cumsum(self._kept_N) - 1
        return {decision: int(places[row]) for decision, row in decisions.items() if self._kept_N[row]}

    def weights(self) -> tuple[float, float]:
        """The weight of all examples that are believed, and of the others."""
        rows = np.diff(self.arrays["trajectory end"], prepend=0)
        weights, believed = (
            self.arrays["trajectory weight"].astype(np.float64) * rows,
            self.arrays["trajectory believed"],
        )
        return float(weights[believed].sum()), float(weights[~believed].sum())

    def _suffixes(self, suffix_keys: SuffixKeys) -> Numbers:
        """The suffix of every row, from the order of all steps."""
        tokens, lengths = self.arrays["order token"].tolist(), self._order_lengths
        starts = self.arrays["trajectory order_end"] - lengths
        owners, positions = self.arrays["step trajectory"], self.arrays["step position"]
        rows = zip(starts[owners].tolist(), positions.tolist(), strict=True)
        found = [suffix_keys(tokens[start + max(0, at - 3) : start + at]) for start, at in rows]
        return np.array(found, np.int64).reshape(self.arrays["step suffix"].shape)


def _renumbered(numbers: Array) -> tuple[Numbers, Array]:
    """The different numbers in order of first use, and each number's place among them."""
    known, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return known[order].astype(np.int64), places[inverse].astype(numbers.dtype)


def _chosen(names: Sequence[str], numbers: Numbers) -> list[str]:
    return [names[number] for number in numbers.tolist()]
