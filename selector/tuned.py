"""The settings that are worth tuning, as numbers, and those that were found for a store."""

import json
from collections.abc import Mapping
from dataclasses import replace

from selector.records import SelectorConfig
from selector.tuning import Setting, places_of
from trajstore.errors import DamagedStore
from trajstore.retriever import Keys
from trajstore.store import TrajectoryStore

ARTIFACT, KEY = "tuned-settings", "1"
SETTINGS = (
    Setting("goal", 0.01, 1.0, "log"),
    Setting("state", 0.01, 1.0, "log"),
    Setting("order", 0.01, 1.0, "log"),
    Setting("power", 1.0, 8.0, "log"),
    Setting("floor", 0.01, 0.5, "log"),
    Setting("sharpening", 0.5, 16.0, "log"),
    Setting("prior_strength", 0.5, 32.0, "log"),
)


def values_of(config: SelectorConfig) -> dict[str, float]:
    """The tunable settings of a configuration, each within its range."""
    retrieval = config.retrieval
    keys = {name: getattr(retrieval.keys, name) for name in ("goal", "state", "order")}
    others = {"power": retrieval.power, "floor": retrieval.floor}
    own = {"sharpening": config.sharpening, "prior_strength": config.prior_strength}
    found = keys | others | own
    return {setting.name: min(max(found[setting.name], setting.low), setting.high) for setting in SETTINGS}


def with_values(config: SelectorConfig, values: Mapping[str, float]) -> SelectorConfig:
    """A configuration with other values of the tunable settings."""
    keys = Keys(values["goal"], values["state"], values["order"])
    retrieval = replace(config.retrieval, keys=keys, power=values["power"], floor=values["floor"])
    return replace(
        config, retrieval=retrieval, sharpening=values["sharpening"], prior_strength=values["prior_strength"]
    )


def save_tuned(store: TrajectoryStore, values: Mapping[str, float]) -> None:
    """Keep tuned settings with the store: a selector without a configuration of its own uses them."""
    store.put_artifact(ARTIFACT, KEY, json.dumps(dict(values), sort_keys=True).encode())


def tuned_config(store: TrajectoryStore) -> SelectorConfig:
    """The configuration that was tuned for a store; the default one where none was."""
    content = store.artifact(ARTIFACT, KEY)
    if content is None:
        return SelectorConfig()
    try:
        values = json.loads(content)
        places_of(SETTINGS, values)
        return with_values(SelectorConfig(), values)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStore(
            f"the tuned settings of {store.path} cannot be read ({error}); trajstore tune finds others"
        ) from error
