"""What the packages export, which way they import, and that nothing heavy is loaded before it is needed."""

import json
import pkgutil
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from types import ModuleType
from typing import get_origin

import pytest
import typer
from command_line import write_log

import grpo
import selector
import trajstore

PACKAGES = (trajstore, selector, grpo)
HEAVY = ("faiss", "matplotlib", "sentence_transformers", "skopt", "sklearn", "torch", "transformers")
COMMAND = "from trajstore.cli import run; import sys; run(sys.argv[1:])"
AFTERWARDS = "; import json; print('\\n' + json.dumps(sorted(sys.modules)))"


def loaded_by(code: str, *arguments: str | Path) -> set[str]:
    """The modules that a fresh interpreter has loaded after running some code."""
    command = [sys.executable, "-c", code + AFTERWARDS, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def module_names(package: ModuleType) -> list[str]:
    return [found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]


def test_the_interface_is_exported():
    assert {"Step", "Task", "ToolSpec", "Trajectory", "TrajectoryStore"} <= set(trajstore.__all__)
    assert {"Candidate", "Selector", "SelectorConfig"} <= set(selector.__all__)
    trainer = {"AgentEvaluator", "GRPOConfig", "GRPOTrainer", "ToolPolicy", "TrajectoryCollector"}
    assert trainer <= set(grpo.__all__)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_what_a_package_exports_is_sorted_there_and_documented(package: ModuleType):
    assert list(package.__all__) == sorted(package.__all__)
    for name in package.__all__:
        exported = getattr(package, name)
        assert isinstance(exported, str) or get_origin(exported) or exported.__doc__, name


@pytest.mark.parametrize("package", [trajstore, selector], ids=lambda package: package.__name__)
def test_every_public_name_of_a_package_is_meant(package: ModuleType):
    public = {
        name for name, value in vars(package).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public <= set(package.__all__)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_package_says_what_it_is_and_carries_its_types(package: ModuleType):
    assert package.__doc__
    assert (Path(str(package.__file__)).parent / "py.typed").exists()


def test_the_version_is_written_once_and_the_same():
    assert trajstore.__version__ == version("trajstore")


def test_every_entry_point_is_a_set_of_commands():
    points = entry_points(group="trajstore.commands")
    assert {point.name for point in points} >= {"trajstore", "selector"}
    assert all(isinstance(point.load(), typer.Typer) for point in points)


def test_no_command_name_is_taken_twice():
    values = {point.value: point.load() for point in entry_points(group="trajstore.commands")}
    names = [
        command.name or str(command.callback.__name__) for app in values.values() for command in app.registered_commands
    ]
    assert len(names) == len(set(names))


def test_the_store_loads_nothing_of_the_packages_above_it_and_nothing_heavy():
    imports = "; ".join(f"import {name}" for name in module_names(trajstore))
    modules = loaded_by(f"import sys; {imports}")
    assert modules.isdisjoint({"selector", "grpo", *HEAVY})


def test_the_selector_loads_nothing_of_the_package_above_it_and_nothing_heavy():
    modules = loaded_by("import sys; import selector")
    assert modules.isdisjoint({"grpo", *HEAVY})


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["choose", "--help"], ["evaluate", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]):
    assert loaded_by(COMMAND, *words).isdisjoint(HEAVY)


def test_the_commands_of_the_store_load_nothing_heavy(tmp_path: Path):
    db, log = tmp_path / "x.db", write_log(tmp_path / "log.jsonl", "a", "b")
    assert loaded_by(COMMAND, "ingest", log, "--db", db, "--no-embed").isdisjoint({"selector", *HEAVY})
    assert loaded_by(COMMAND, "ingest", log, "--db", db).isdisjoint({"selector", *HEAVY} - {"faiss"})
    assert loaded_by(COMMAND, "stats", "--db", db).isdisjoint({"selector", *HEAVY})
    assert loaded_by(COMMAND, "forget", "--db", db, "--source", "a").isdisjoint({"selector", *HEAVY})
