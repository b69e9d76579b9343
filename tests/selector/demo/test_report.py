"""The demo's report is a page that stands alone."""

import re
import sys
from html.parser import HTMLParser
from importlib.machinery import PathFinder
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the report's pictures need matplotlib")
pytest.importorskip("jinja2", reason="the report needs jinja2")

from selector.demo.collect import CollectSettings, collect
from selector.demo.compare import baselines, compare, word_evidence
from selector.demo.engine_agent import EngineAgent
from selector.demo.records import DemoReport, DemoSettings, count_collected
from selector.demo.report import render_report, require_packages, write_report
from selector.episode import Episode
from selector.feedback import GUIDED
from selector.records import Decision, PrunedCandidate, RankedCandidate, SupportingStep
from trajstore.errors import MissingDependency

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


@pytest.fixture
def report(two_rooms, tmp_path):
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
        seconds={"collect": 1.25, "act": 2.5},
        versions={"python": "3.11"},
        abstentions=0,
        example=word_evidence(comparison.example, {"t0": memory[0]}),
        path=tmp_path / "deep" / "report.html",
    )


def outline_of(page):
    outline = Outline()
    outline.feed(page)
    outline.close()
    return outline


def test_the_page_is_well_formed(report):
    page = render_report(report)
    outline = outline_of(page)
    assert outline.open == []
    assert {"html", "main", "table", "figure", "svg"} <= outline.tags
    assert len(outline.ids) == len(set(outline.ids))
    assert page.startswith("<!DOCTYPE html>")


def test_the_page_loads_nothing_from_outside(report):
    page = render_report(report)
    outline = outline_of(page)
    assert all(link.startswith("#") for link in outline.loads)
    assert "script" not in outline.tags
    assert "link" not in outline.tags
    assert "@import" not in page
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", page))


def test_the_page_names_agents_games_settings_and_versions(report):
    page = render_report(report)
    for words in ("step kNN, no repeats", "replay", "random", "all games", "python 3.11", "collect 1.2"):
        assert words in page


def test_the_page_explains_an_episode_of_the_engine(report):
    page = render_report(report)
    for words in ("propensity 0.25", "take key (chest/0, gold)", "succeeded", "unjudged", "pruned: it failed"):
        assert words in page


def test_what_games_and_reasons_say_is_escaped(report):
    page = render_report(report)
    assert "box &lt;b&gt;" in page
    assert "<often>" not in page
    assert "box <b>" not in page


def test_pictures_take_their_ink_from_the_page(report):
    page = render_report(report)
    assert "currentColor" in page
    assert "#01020" not in page
    assert 'name="color-scheme" content="light dark"' in page
    assert "prefers-color-scheme: dark" in page


def test_the_same_report_is_written_alike_twice(report):
    assert render_report(report) == render_report(report)


def test_writing_makes_the_folder(report):
    write_report(report)
    assert Path(report.path).read_text(encoding="utf-8") == render_report(report)


def test_a_report_without_example_or_success_is_still_a_page(report):
    bare = type(report)(
        **{name: getattr(report, name) for name in report.__slots__} | {"example": None, "collected": ()}
    )
    assert outline_of(render_report(bare)).open == []


def test_a_missing_package_is_named_with_its_command_before_anything_is_run(monkeypatch):
    find = PathFinder.find_spec
    monkeypatch.delitem(sys.modules, "jinja2")
    monkeypatch.setattr(
        PathFinder, "find_spec", lambda name, *rest: None if name == "jinja2" else find(name, *rest), raising=True
    )
    with pytest.raises(MissingDependency, match=r'jinja2; install: pip install "trajstore\[demo\]"'):
        require_packages()
