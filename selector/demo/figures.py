"""The report's pictures: plain SVG that takes its ink from the page, so that light and dark both work."""

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from selector.demo.rollout import Rollout
from selector.demo.summary import CurvePoint, Row, Table

INK = "#010203"  # stands for the page's own colour until the picture is written
ACCENT = "#e0602c"
QUIET = "#7d8fa9"
WIDTH, ROW_HEIGHT, MARGIN = 4.6, 0.34, 0.7
CURVE_HEIGHT = 2.6
PERCENT_TICKS = ((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100 %"))
GOLDEN_RATIO = 0.618


def success_figure(table: Table, game: str, leader: str) -> str:
    """Success at one game by agent, with intervals."""
    figure, panel = _panel(game, table.agents)
    for place, agent in enumerate(table.agents):
        success = table.row(agent, game).success
        colour = _colour(agent, leader)
        panel.plot([success.low, success.high], [place, place], color=colour, linewidth=3.5, alpha=0.45)
        panel.plot(success.value, place, "o", color=colour, markersize=7.5)
        panel.text(1.05, place, f"{success.value:.0%}", va="center", color=INK, fontsize=9.5)
    panel.set_xlim(-0.03, 1.16)
    panel.set_xticks(*PERCENT_TICKS)
    return _svg(figure, f"success-{table.games.index(game)}")


def steps_figure(rollouts: Sequence[Rollout], table: Table, game: str, leader: str) -> str:
    """Steps that successes at one game took, one dot a task; the stroke is the median."""
    figure, panel = _panel(game, table.agents)
    played = [rollout for rollout in rollouts if rollout.game == game]
    for place, agent in enumerate(table.agents):
        steps = sorted(rollout.steps for rollout in played if rollout.success and rollout.agent == agent)
        _strip(panel, steps, place, _colour(agent, leader))
    panel.set_xlim(0, 1.02 * max(rollout.steps for rollout in played))
    return _svg(figure, f"steps-{table.games.index(game)}")


def curve_figure(curve: Sequence[CurvePoint], game: str, leader: str) -> str:
    """Success at one game by trajectories stored, one line an agent, with intervals; the points stand evenly."""
    table = curve[0].table
    figure, panel = _canvas(game, CURVE_HEIGHT)
    for agent in table.agents:
        _line(panel, [point.table.row(agent, game) for point in curve], _colour(agent, leader))
    panel.set_xticks(range(len(curve)), [f"{point.trajectories:,}" for point in curve])
    panel.set_xlabel("trajectories stored", color=INK, fontsize=9.5)
    panel.set_yticks(*PERCENT_TICKS)
    panel.set_ylim(-0.05, 1.05)
    panel.grid(axis="y", color=INK, alpha=0.15, linewidth=0.8)
    return _svg(figure, f"curve-{table.games.index(game)}")


def _line(panel: Any, rows: Sequence[Row], colour: str) -> None:
    places = range(len(rows))
    panel.fill_between(
        places, [row.success.low for row in rows], [row.success.high for row in rows], color=colour, alpha=0.18, lw=0
    )
    panel.plot(places, [row.success.value for row in rows], "-o", color=colour, linewidth=2.2, markersize=5.5)


def _strip(panel: Any, steps: Sequence[int], place: int, colour: str) -> None:
    if not steps:
        panel.text(1, place, "no success", va="center", color=INK, alpha=0.6, fontsize=9)
        return
    heights = place + 0.5 * (np.arange(len(steps)) * GOLDEN_RATIO % 1 - 0.5)
    panel.plot(steps, heights, "o", color=colour, markersize=4.5, alpha=0.6, markeredgewidth=0)
    panel.plot([np.median(steps)] * 2, [place - 0.34, place + 0.34], color=colour, linewidth=2.5)


def _colour(agent: str, leader: str) -> str:
    return ACCENT if agent == leader else QUIET


def _panel(title: str, agents: Sequence[str]) -> tuple[Any, Any]:
    """A figure with one panel, in which each agent has a line; the last agent stands on top."""
    figure, panel = _canvas(title, len(agents) * ROW_HEIGHT + MARGIN)
    panel.set_yticks(range(len(agents)), agents)
    panel.set_ylim(-0.5, len(agents) - 0.5)
    panel.grid(axis="x", color=INK, alpha=0.15, linewidth=0.8)
    return figure, panel


def _canvas(title: str, height: float) -> tuple[Any, Any]:
    """A figure with one panel, which has a title and no frame."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes a second to load

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panel = figure.subplots()
    panel.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    panel.tick_params(colors=INK, length=0, labelsize=9.5)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return figure, panel


def _svg(figure: Any, name: str) -> str:
    """The figure as an element of a page: no prologue, no metadata, ids of its own, ink taken from the page."""
    from matplotlib import rc_context  # noqa: PLC0415 - takes a second to load

    written = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = written.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r" (?:width|height)=\"[^\"]*pt\"", "", svg, count=2)
    svg = re.sub(r"(id=\"|href=\"#|url\(#)", rf"\g<1>{name}-", svg)
    return svg.replace(INK, "currentColor")
