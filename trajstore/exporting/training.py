"""Trajectories as rows of the training data that TRL and verl read: prompts, attempts, rewards and groups.

TRL 1.16 (`dataset_formats`): conversational prompt-completion rows with a column `tools` (SFT), whose `label` makes
them unpaired preferences (KTO); GRPO and RLOO read `prompt` and hand every other column to the reward functions.  As
arguments differ from call to call, give them to `Dataset.from_list(rows, on_mixed_types="use_json")` (`datasets` 4.8).

verl 0.9 (`prepare_data`, `RLHFDataset`): data_source, prompt, ability, reward_model with style and ground_truth,
extra_info with split and index.  Every row has the same columns of the same types, as Parquet asks.
"""

from typing import Any, TypeAlias

from trajstore.codec import to_json
from trajstore.exporting.chat import messages, prompt, spoken_text, tools
from trajstore.schema import Trajectory

Json: TypeAlias = Any
"""Whatever JSON holds."""

ABILITY = "tool_use"
DATA_SOURCE = "trajstore"


def trl_row(trajectory: Trajectory) -> dict[str, Json]:
    """One attempt for TRL; rows of equal `group` are attempts at the same task.

    `reward` is that of the log, else 1 or 0 by success, None where nobody judged; `label` is the success.
    """
    return {
        "prompt": prompt(trajectory),
        "completion": messages(trajectory),
        "tools": tools(trajectory),
        "reward": final_reward(trajectory),
        "label": trajectory.success,
        "group": group_name(trajectory),
        "source": trajectory.source,
        "trajectory_id": trajectory.trajectory_id,
    }


def verl_row(trajectory: Trajectory, index: int) -> dict[str, Json]:
    """One attempt for verl; rows of equal `extra_info.group` are attempts at the same task.

    `ground_truth` is JSON text of the calls of an attempt that succeeded, "" for any other: a reward function may
    compare with it.  `extra_info` has what was done (`messages`, JSON text) and what it earned (`reward`, 0.0 and
    `judged` false where nobody judged).
    """
    reward = final_reward(trajectory)
    domain = trajectory.metadata.get("domain")
    extra = {
        "split": "train",
        "index": index,
        "group": group_name(trajectory),
        "trajectory_id": trajectory.trajectory_id,
        "reward": 0.0 if reward is None else reward,
        "judged": reward is not None,
        "success": trajectory.success is True,
        "messages": to_json(messages(trajectory)),
        "tools": to_json(tools(trajectory)),
    }
    return {
        "data_source": trajectory.source or DATA_SOURCE,
        "prompt": prompt(trajectory),
        "ability": domain if isinstance(domain, str) and domain else ABILITY,
        "reward_model": {"style": "rule", "ground_truth": to_json(_calls(trajectory)) if trajectory.success else ""},
        "extra_info": extra,
    }


def final_reward(trajectory: Trajectory) -> float | None:
    """The reward as logged, else 1 for a success and 0 for a failure; None where nobody judged."""
    if trajectory.reward is not None:
        return float(trajectory.reward)
    return None if trajectory.success is None else float(trajectory.success)


def group_name(trajectory: Trajectory) -> str:
    """What attempts at the same task share: the group that the log names, else the task's id, else its text."""
    task = trajectory.task
    return task.group or task.task_id or task.text


def _calls(trajectory: Trajectory) -> list[dict[str, Json]]:
    called = (step for step in trajectory.steps if spoken_text(step) is None and step.kind != "user")
    return [{"name": step.tool, "arguments": dict(step.args)} for step in called]
