"""What is left when trajectories are taken out is what there would be without them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajstore.contents import Contents
from trajstore.embedding import HashedEmbedder
from trajstore.experience import Experience, suffix_keys
from trajstore.schema import Step, Task, Trajectory
from trajstore.thinning import without

EMBEDDER = HashedEmbedder(16)
WORDS = st.sampled_from(["red", "blue", "green"])
STEPS = st.lists(
    st.builds(
        Step,
        index=st.just(0),
        tool=WORDS,
        state=WORDS,
        args=st.dictionaries(st.just("to"), WORDS, max_size=1),
        outcome=st.sampled_from(["ok", "tool_error"]),
        kind=st.sampled_from(["tool", "tool", "message"]),
    ),
    max_size=4,
)
TRAJECTORIES = st.builds(
    Trajectory,
    task=st.builds(Task, WORDS, family=st.sampled_from(["", "f1", "f2"])),
    steps=STEPS.map(lambda steps: tuple(replace(step, index=at) for at, step in enumerate(steps))),
    success=st.sampled_from([True, False, None]),
    source=WORDS,
    judge=st.sampled_from(["environment", "self"]),
    trust=st.sampled_from([0.5, 1.0]),
)
LOGS = st.lists(st.tuples(TRAJECTORIES, st.booleans()), max_size=6)


def experience_of(trajectories: list[Trajectory]) -> Experience:
    experience = Experience(EMBEDDER.embed, 16)
    experience.extend(trajectories)
    return experience


def in_words(contents: Contents) -> dict[str, str]:
    return {name: repr(array.tolist()) for name, array in contents.to_arrays().items()}


@given(LOGS)
def test_what_is_left_is_what_there_would_be_without_the_rest(log):
    numbered = [
        replace(one, trajectory_id=f"t{number}", steps=tuple(_decided(one, number)))
        for number, (one, _) in enumerate(log)
    ]
    gone = np.array([is_gone for _, is_gone in log], np.bool_)
    kept = [one for one, is_gone in zip(numbered, gone, strict=True) if not is_gone]
    thinned = without(experience_of(numbered).contents(), gone, suffix_keys)
    expected = experience_of(kept).contents()
    assert in_words(thinned) == in_words(expected)
    assert thinned.weights == pytest.approx(expected.weights)


def _decided(trajectory: Trajectory, number: int) -> list[Step]:
    return [replace(step, decision_id=f"{number} {step.index}") for step in trajectory.steps]
