"""The demo's report is a page that stands alone."""

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib.machinery import PathFinder
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the report's pictures need matplotlib")
pytest.importorskip("jinja2", reason="the report needs jinja2")

from selector.demo.collect import CollectSettings, action_of, collect
from selector.demo.compare import baselines, compare, point_of, with_stored
from selector.demo.engine_agent import EngineAgent
from selector.demo.records import DemoReport, DemoSettings, PrunedTool, Pruning, count_collected
from selector.demo.report import render_report, require_packages, why, write_report
from selector.episode import Episode
from selector.feedback import GUIDED
from selector.records import Decision, PrunedCandidate, RankedCandidate, SupportingStep
from trajstore.errors import MissingDependency
from trajstore.experience import past_step
from trajstore.schema import Candidate

NEARLY_PRUNED = PrunedTool(1, "a <cold> hall", "take", 2.0, 12.0, 0.4, "open with", 0.5)
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Outline(HTMLParser):
    """Checks that elements close in order, and collects what they would load."""

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.tags, self.ids = [], [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                self.loads.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class Explaining:
    """A host of episodes that chooses the first candidate and has something to say for it."""

    def remembered(self, step):
        return past_step(step)

    def goal_similarities(self, task):
        return np.zeros(0, np.float32)

    def plan(self, episode_id):
        return GUIDED

    def take_step(self, report):
        pass

    def decide(self, situation, goals, plan):
        ranked = tuple(
            RankedCandidate(one, 1 / (2 + place), (0.1, 0.9), 1.0) for place, one in enumerate(situation.candidates)
        )
        pruned = (PrunedCandidate(situation.candidates[-1], "it failed <often> & always"),)
        evidence = (
            SupportingStep("t0", 0, "take", success=True, similarity=0.5),
            SupportingStep("gone", 3, "look around", success=None, similarity=0.2),
        )
        return Decision("id", situation.candidates[0], "follow", 0.25, ranked, pruned, evidence)

    def close_episode(self, report):
        return ""


@pytest.fixture(scope="module")
def report(shared_two_rooms, tmp_path_factory):
    two_rooms, tmp_path = shared_two_rooms, tmp_path_factory.mktemp("report")
    memory = list(collect(two_rooms, two_rooms.tasks("chest", "train", 4), CollectSettings()))
    engine = EngineAgent(lambda task: Episode(Explaining(), task, ()))
    tasks = (*two_rooms.tasks("chest", "test", 3), *two_rooms.tasks("box <b>", "test", 3))
    comparison = compare(two_rooms, tasks, baselines(memory, 0), engine, max_steps=8)
    return DemoReport(
        settings=DemoSettings(games=("chest", "box <b>"), out=tmp_path).completed(),
        collected=count_collected(memory),
        rollouts=comparison.rollouts,
        table=comparison.table,
        leader="engine",
        rival=comparison.rival,
        curve=tuple(
            point_of(size, comparison.rollouts, tasks[:4], (comparison.rival, "engine")) for size in (0, 10, 1_234)
        ),
        seconds={"collect": 1.25, "act": 2.5},
        versions={"python": "3.11"},
        engine_settings={"exploration": 0.25},
        abstentions=0,
        example=with_stored(comparison.example, {"t0": memory[0], "t1": memory[1]}),
        left_out=comparison.left_out,
        pruning=Pruning(2, 9, 4, 10.0, 0.25, (), NEARLY_PRUNED),
        path=tmp_path / "deep" / "report.html",
    )


@pytest.fixture(scope="module")
def page(report):
    return render_report(report)


def outline_of(page):
    outline = Outline()
    outline.feed(page)
    outline.close()
    return outline


def test_the_page_is_well_formed(page):
    outline = outline_of(page)
    assert outline.open == []
    assert {"html", "main", "table", "figure", "svg"} <= outline.tags
    assert len(outline.ids) == len(set(outline.ids))
    assert page.startswith("<!DOCTYPE html>")


def test_the_page_loads_nothing_from_outside(page):
    outline = outline_of(page)
    assert all(link.startswith("#") for link in outline.loads)
    assert "script" not in outline.tags
    assert "link" not in outline.tags
    assert "@import" not in page
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", page))


def test_the_page_names_agents_games_settings_and_versions(page):
    for words in ("step kNN, no repeats", "replay", "random", "all games", "python 3.11", "collect 1.2"):
        assert words in page


def test_the_page_explains_an_episode_of_the_engine(page):
    for words in ("propensity 0.25", "chest/0 (gold)", "succeeded", "unjudged", "it failed", "exploration 0.25"):
        assert words in page


def test_the_page_says_why_an_action_was_taken(page):
    assert "It is the most probable action of those that were not pruned." in page
    assert "Of the 2 nearest stored steps" in page


def test_an_abstention_is_told_with_its_reason(report):
    step = report.example.steps[0]
    abstained = replace(step, decision=replace(step.decision, source="defer", reason="too little experience"))
    assert why(abstained, {}) == "The engine abstained (too little experience); a valid action was taken at random."


def test_a_followed_trajectory_is_named_by_its_task_and_maker(report):
    step = report.example.steps[0]
    followed = replace(step, decision=replace(step.decision, path="t0", evidence=()))
    stored = report.example.stored
    assert why(followed, stored) == "It follows the stored trajectory chest/0 (gold)."
    assert why(followed, {}) == "It follows the stored trajectory t0."


def test_why_counts_the_nearest_steps_that_did_the_same(report):
    step, stored = report.example.steps[0], report.example.stored
    taken = stored["t0"].steps[0]
    nearest = (
        SupportingStep("t0", 0, taken.tool, success=True, similarity=0.9),
        SupportingStep("gone", 0, taken.tool, success=False, similarity=0.8),
        SupportingStep("gone", 1, "sing", success=None, similarity=0.7),
    )
    chosen = Candidate(taken.tool, taken.args, action_of(taken))
    told = why(replace(step, chosen=chosen, decision=replace(step.decision, evidence=nearest)), stored)
    assert "Of the 3 nearest stored steps 1 took this very action and 2 this tool; 1 stand in" in told


def test_the_page_draws_a_learning_curve_of_the_leader_and_its_rival(report, page):
    for words in ("trajectories stored", "1,234", "0, 10, 1234 trajectories", f"<li>{report.rival}</li>"):
        assert words in page
    assert page.count("<svg") == 2 * 3 + 2


def test_the_page_says_what_was_pruned_and_how_near_anything_else_came(report, page):
    page = " ".join(page.split())
    assert f"in {report.decisions} decisions." in page
    assert "Of 9 pairs of a tool and one of 2 kinds of state, 4 have the 10 judged trajectories" in page
    assert (
        "Nearest to it is take: success at most 0.40 after 12 trajectories, while open with has at least 0.50." in page
    )
    assert "a &lt;cold&gt; hall" in page


def test_the_page_says_that_nothing_was_pruned_and_lists_what_is_in_a_kind_of_state(report):
    pruning = replace(report.pruning, tools=(replace(NEARLY_PRUNED, tool="sing"),), nearest=None)
    page = " ".join(render_report(replace(report, pruning=pruning, left_out=())).split())
    assert f"In {report.decisions} decisions on the unseen tasks nothing was pruned." in page
    assert "No tool is pruned" not in page
    assert "1 of the 4 pairs of a tool and a kind of state that have the 10 judged trajectories" in page
    assert "<td>sing</td>" in page
    assert "trajstore pruned --db" in page


def test_what_games_and_reasons_say_is_escaped(page):
    assert "box &lt;b&gt;" in page
    assert "<often>" not in page
    assert "box <b>" not in page


def test_pictures_take_their_ink_from_the_page(page):
    assert "currentColor" in page
    assert "#01020" not in page
    assert 'name="color-scheme" content="light dark"' in page
    assert "prefers-color-scheme: dark" in page


def test_writing_makes_the_folder_and_the_same_page_again(report, page):
    write_report(report)
    assert Path(report.path).read_text(encoding="utf-8") == page


def test_a_report_without_example_or_success_is_still_a_page(report):
    bare = replace(report, example=None, collected=())
    assert outline_of(render_report(bare)).open == []


def test_a_missing_package_is_named_with_its_command_before_anything_is_run(monkeypatch):
    find = PathFinder.find_spec
    monkeypatch.delitem(sys.modules, "jinja2")
    monkeypatch.setattr(
        PathFinder, "find_spec", lambda name, *rest: None if name == "jinja2" else find(name, *rest), raising=True
    )
    with pytest.raises(MissingDependency, match=r'jinja2; install: pip install "trajstore\[demo\]"'):
        require_packages()
