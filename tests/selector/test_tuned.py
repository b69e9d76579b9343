"""Tuned settings: numbers and configurations are two views of one thing, and a store keeps them for its selectors."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector import Selector, SelectorConfig
from selector.errors import SelectorUsageError
from selector.tuned import ARTIFACT, KEY, SETTINGS, save_tuned, tuned_config, values_of, with_values
from trajstore.embedding import HashedEmbedder
from trajstore.errors import DamagedStore
from trajstore.retriever import RetrieverConfig
from trajstore.store import TrajectoryStore

VALUES = st.fixed_dictionaries({setting.name: st.floats(setting.low, setting.high) for setting in SETTINGS})
FOUND = values_of(SelectorConfig()) | {"sharpening": 7.5, "floor": 0.25}


@given(VALUES)
def test_values_of_a_configuration_are_those_that_it_was_made_with(values):
    assert values_of(with_values(SelectorConfig(), values)) == values


def test_a_configuration_with_its_own_values_is_itself():
    config = SelectorConfig()
    assert with_values(config, values_of(config)) == config


@given(VALUES)
def test_other_values_leave_every_other_setting_alone(values):
    config = SelectorConfig(exploration=0.3, held_out=0.1, retrieval=RetrieverConfig(nearest=7))
    changed = with_values(config, values)
    assert with_values(changed, values_of(config)) == config
    assert (changed.exploration, changed.held_out, changed.retrieval.nearest) == (0.3, 0.1, 7)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_values_lie_within_their_ranges_even_where_the_configuration_does_not(setting):
    config = SelectorConfig(sharpening=1e6, prior_strength=1e-6)
    assert setting.low <= values_of(config)[setting.name] <= setting.high


@given(VALUES)
def test_what_was_kept_with_a_store_comes_back_equal(values):
    with TrajectoryStore(":memory:") as store:
        save_tuned(store, values)
        assert tuned_config(store) == with_values(SelectorConfig(), values)


def test_what_is_kept_last_counts(store):
    save_tuned(store, values_of(SelectorConfig()))
    save_tuned(store, FOUND)
    assert values_of(tuned_config(store)) == FOUND


def test_a_selector_takes_up_what_was_tuned_unless_it_is_given_a_configuration(store):
    embedder = HashedEmbedder(64)
    assert Selector(store, embedder=embedder).config == SelectorConfig()
    save_tuned(store, FOUND)
    assert Selector(store, embedder=embedder).config == with_values(SelectorConfig(), FOUND)
    own = replace(SelectorConfig(), exploration=0.5)
    assert Selector(store, own, embedder=embedder).config == own


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        b"{",
        b"[]",
        b"null",
        b"{}",
        json.dumps({"goal": 1.0}).encode(),
        json.dumps(FOUND | {"sharpening": -1.0}).encode(),
        json.dumps(FOUND | {"sharpening": "much"}).encode(),
        json.dumps(FOUND | {"goal": None}).encode(),
        json.dumps(FOUND | {"floor": 9.0}).encode(),
    ],
)
def test_settings_that_cannot_be_read_are_named_with_the_remedy(store, content):
    store.put_artifact(ARTIFACT, KEY, content)
    with pytest.raises(DamagedStore, match=r"tuned settings of .* cannot be read .*; trajstore tune finds others"):
        tuned_config(store)


def test_settings_out_of_range_are_refused_where_they_are_made():
    with pytest.raises(SelectorUsageError):
        with_values(SelectorConfig(), FOUND | {"prior_strength": 0.0})
