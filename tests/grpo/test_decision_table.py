"""Ragged decisions as padded batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_policies import encoded, random_policy, random_situations

from grpo.decision_table import DecisionTable
from grpo.errors import TrainingUsageError
from grpo.tool_network import ToolNetwork

POLICY = random_policy()
DECISIONS, VECTORS = encoded(random_situations(20), POLICY)
TABLE = DecisionTable(DECISIONS, VECTORS)
NETWORK = ToolNetwork(POLICY.shape, POLICY.weights)


def logits(table: DecisionTable, rows) -> np.ndarray:
    with torch.no_grad():
        return NETWORK(table.batch(torch.tensor(rows))).numpy()


def test_a_table_needs_a_decision():
    with pytest.raises(TrainingUsageError, match="at least one decision"):
        DecisionTable([], VECTORS)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 19), min_size=1, max_size=30))
def test_a_batch_of_any_rows_equals_each_row_alone(rows):
    together = logits(TABLE, rows)
    for place, row in enumerate(rows):
        alone = logits(TABLE, [row])[0]
        assert together[place, : len(alone)] == pytest.approx(alone, abs=1e-4)


def test_padding_with_wider_decisions_changes_nothing():
    counts = [len(one.candidates_K) for one in DECISIONS]
    narrow, wide = int(np.argmin(counts)), int(np.argmax(counts))
    assert counts[narrow] < counts[wide]
    alone, beside = logits(TABLE, [narrow])[0], logits(TABLE, [narrow, wide])[0]
    assert beside[: counts[narrow]] == pytest.approx(alone, abs=1e-5)
    assert (beside[counts[narrow] :] < -1e6).all()


def test_the_mask_says_which_candidates_are_real():
    batch = TABLE.batch(torch.arange(20))
    assert batch.mask_NK.sum(dim=1).tolist() == [len(one.candidates_K) for one in DECISIONS]
    assert batch.mask_NK.shape == (20, TABLE.most_candidates)


def test_a_part_of_the_decisions_is_a_table_of_its_own():
    own = DecisionTable(DECISIONS[5:8], VECTORS)
    whole = logits(TABLE, [5, 6, 7])
    assert logits(own, [0, 1, 2]) == pytest.approx(whole[:, : own.most_candidates], abs=1e-5)


def test_building_a_table_leaves_the_decisions_as_they_were():
    before = [one.standings_KF.copy() for one in DECISIONS]
    DecisionTable(DECISIONS, VECTORS)
    assert all((one.standings_KF == was).all() for one, was in zip(DECISIONS, before, strict=True))
