"""Settings of a training run: what is refused, and how they are read."""

from dataclasses import asdict

import pytest

from grpo.config import COUNTS, NOT_NEGATIVE, POSITIVE, SHARES, GRPOConfig
from grpo.errors import TrainingUsageError

BAD = (
    *((name, value) for name in COUNTS for value in (0, -3)),
    *((name, value) for name in SHARES for value in (-0.1, 1.1, float("nan"))),
    *((name, value) for name in NOT_NEGATIVE for value in (-0.1, float("nan"))),
    *((name, value) for name in POSITIVE for value in (0.0, -1.0, float("nan"))),
    *((name, "wrong") for name in ("loss", "baseline", "scale", "precision", "credit")),
    ("most_candidates", 1),
)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_by_its_name(name, value):
    with pytest.raises(TrainingUsageError, match=rf"{name} must .*, got {value!r}"):
        GRPOConfig(**{name: value})


def test_the_defaults_break_no_rule_and_come_back_from_a_mapping():
    assert GRPOConfig.from_mapping(asdict(GRPOConfig())) == GRPOConfig()


@pytest.mark.parametrize("is_logged", [True, False])
def test_nothing_that_depends_on_the_data_is_left_open(is_logged):
    resolved = GRPOConfig().resolved(is_logged=is_logged)
    assert [name for name, value in asdict(resolved).items() if value is None] == []


def test_what_was_set_is_not_resolved_away():
    settings = {"loss": "gspo", "baseline": "mean", "kl": 0.7, "cloning": 0.2}
    for is_logged in (True, False):
        resolved = GRPOConfig(**settings).resolved(is_logged=is_logged)
        assert {name: getattr(resolved, name) for name in settings} == settings


def test_an_unknown_name_is_refused_with_the_names_that_there_are():
    with pytest.raises(TrainingUsageError, match=r"there is no setting 'lerning_rate'; there are .*learning_rate"):
        GRPOConfig.from_mapping({"lerning_rate": 0.1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("updates", "many"),
        ("updates", 2.5),
        ("updates", True),
        ("temperature", "warm"),
        ("entropy", False),
        ("device", 0),
        ("kl", "much"),
        ("kl", True),
        ("loss", 1),
        ("groups", None),
        ("groups", [1]),
        ("seed", {"of": "all"}),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_name(name, value):
    with pytest.raises(TrainingUsageError, match=f"{name} must be"):
        GRPOConfig.from_mapping({name: value})


def test_a_whole_number_stands_for_a_fraction():
    assert GRPOConfig.from_mapping({"temperature": 2}) == GRPOConfig(temperature=2.0)


def test_other_values_are_checked_again():
    assert GRPOConfig().replaced({"updates": 3}).updates == 3
    with pytest.raises(TrainingUsageError, match="updates must be 1 or more"):
        GRPOConfig().replaced({"updates": 0})


def test_settings_come_from_a_toml_file(tmp_path):
    (tmp_path / "run.toml").write_text('updates = 7\nloss = "cispo"\nkl = 0.5\ndevice = "cpu"\n')
    expected = GRPOConfig(updates=7, loss="cispo", kl=0.5, device="cpu")
    assert GRPOConfig.from_toml(tmp_path / "run.toml") == expected


@pytest.mark.parametrize("content", [b"updates =", b"\xff\xfe", b"[[["])
def test_a_file_that_is_no_toml_is_named(tmp_path, content):
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(TrainingUsageError, match=r"run\.toml does not read as TOML"):
        GRPOConfig.from_toml(tmp_path / "run.toml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TrainingUsageError, match=r"none\.toml does not read as TOML"):
        GRPOConfig.from_toml(tmp_path / "none.toml")


def test_a_bad_value_of_a_file_is_refused_by_its_name(tmp_path):
    (tmp_path / "run.toml").write_text("[groups]\nx = 1\n")
    with pytest.raises(TrainingUsageError, match="groups must be"):
        GRPOConfig.from_toml(tmp_path / "run.toml")
