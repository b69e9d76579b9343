"""trajstore: what tool-using agents did, stored, found again by goal, state and order, and ready to learn from."""

from trajstore.environment import Environment, Observation, Transition
from trajstore.filters import TrajectoryFilter
from trajstore.schema import Candidate, Step, Task, ToolSpec, Trajectory
from trajstore.store import TrajectoryStore
from trajstore.store_stats import StoreStats
from trajstore.trajectory_table import AddReport

__version__ = "0.1.0"

__all__ = [
    "AddReport",
    "Candidate",
    "Environment",
    "Observation",
    "Step",
    "StoreStats",
    "Task",
    "ToolSpec",
    "Trajectory",
    "TrajectoryFilter",
    "TrajectoryStore",
    "Transition",
    "__version__",
]
