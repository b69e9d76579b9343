"""What was loaded of one namespace, and what of it is left when trajectories are gone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trajstore.contents import Contents
from trajstore.experience import Experience, suffix_keys
from trajstore.index import VectorIndex
from trajstore.marks import Mark
from trajstore.retriever import Retriever
from trajstore.schema import Trajectory
from trajstore.thinned_index import ThinnedIndex
from trajstore.thinning import without
from trajstore.trajectory_table import TrajectoryContent


@dataclass(frozen=True, slots=True)
class Recollection:
    """The steps of one namespace up to a mark of its store, ready for retrieval.

    `content` says which trajectories they are of, `read` gives these.
    """

    mark: Mark
    content: tuple[TrajectoryContent, ...]
    experience: Experience
    retriever: Retriever
    read: Callable[[], tuple[Trajectory, ...]]


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is left of something loaded: the first `trajectories` of those that there are now, and an index of them."""

    trajectories: int
    contents: Contents
    index: VectorIndex


def remainder(earlier: Recollection, content: Sequence[TrajectoryContent], mark: Mark) -> Remainder | None:
    """What is left of it where `content` is there now; None where nothing was removed, or more than that came between.

    What was added since does not count.
    """
    if mark.removals == earlier.mark.removals:
        return None
    known, now = earlier.content, {one.id: one for one in content}
    is_kept = np.array([now.get(one.id) == one for one in known], np.bool_)
    kept = [one for one, is_there in zip(known, is_kept, strict=True) if is_there]
    if not kept or list(content[: len(kept)]) != kept:
        return None
    experience, index = earlier.experience, earlier.retriever.index
    if [one.id for one in known] != experience.trajectory_ids:
        return None
    kept_N = is_kept[experience.column("trajectory")[: len(index)]]
    return Remainder(len(kept), without(experience.contents(), ~is_kept, suffix_keys), ThinnedIndex(index, kept_N))
