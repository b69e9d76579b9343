"""What the tools of the MCP server take and return: typed records, since a client is shown the schema of each."""

from selector.adapters.needs import needs

try:
    from pydantic import BaseModel, Field
except ImportError as error:
    raise needs("mcp", "the MCP SDK") from error


class OfferedTool(BaseModel):
    """A tool that the agent may call."""

    name: str = Field(min_length=1)
    description: str = ""


class RankedTool(BaseModel):
    """A tool, and how probably it is right here; no probability where there is no opinion."""

    tool: str
    probability: float | None = None


class RefusedTool(BaseModel):
    """A tool that must not be called now, and why."""

    tool: str
    reason: str


class Recommendation(BaseModel):
    """What to do next: the tools, best first, without the refused ones.

    `suggested` is what experience would call, `hint` says it in words (empty: nothing to say), and `forced` names the
    tool that must be called (None: the agent is free).  `episode_id` goes into every later call about this task.
    """

    episode_id: str
    decision_id: str
    ranked: list[RankedTool]
    refused: list[RefusedTool]
    hint: str = ""
    suggested: str | None = None
    forced: str | None = None


class RecordedStep(BaseModel):
    """A step as it was recorded, `step` from 0."""

    episode_id: str
    step: int
    outcome: str


class FinishedTrajectory(BaseModel):
    """An episode that has ended; `trajectory_id` is "" where it had no steps or episodes are not recorded."""

    episode_id: str
    trajectory_id: str
    success: bool | None = None


class FoundStep(BaseModel):
    """A stored step near to what was asked: similarity in [−1, 1], and what became of its trajectory."""

    trajectory_id: str
    step: int
    tool: str
    similarity: float
    success: bool | None
    task: str
    outcome: str


class FoundSteps(BaseModel):
    """The nearest stored steps, nearest first."""

    steps: list[FoundStep]


class Statistics(BaseModel):
    """How much is stored; the last three count steps or trajectories by name."""

    trajectories: int
    steps: int
    successes: int
    tools: dict[str, int]
    sources: dict[str, int]
    namespaces: dict[str, int]


class PrunedTool(BaseModel):
    """A tool that is left out in one kind of state, why, and until when (seconds since 1970)."""

    tool: str
    state: str
    status: str
    reason: str
    until: float


class PrunedTools(BaseModel):
    """Everything that is pruned now."""

    pruned: list[PrunedTool]
