"""Errors of the trainer.

TrajstoreError
├── UsageError (ValueError)
│   └── TrainingUsageError   an argument of the trainer breaks a rule                  2
├── TrainingFailed           training cannot go on                                     1
├── UnknownJob (KeyError)    no training job has this id                               1
└── CheckpointDamaged        a checkpoint is not whole, or not of this trainer         3
"""

from trajstore.errors import TrajstoreError, UsageError


class TrainingUsageError(UsageError):
    """An argument of the trainer breaks a rule."""


class TrainingFailed(TrajstoreError):
    """Training cannot go on; what was reached is saved."""


class UnknownJob(TrajstoreError, KeyError):
    """No training job has this id."""


class CheckpointDamaged(TrajstoreError):
    """A checkpoint is not whole, or not of this trainer."""

    exit_code = 3
