"""Durable ingest: steps a second that are on disk when they are acknowledged, and the time to make the index anew.

    python benchmarks/ingest.py [--steps 20000] [--reindex 100000] [--folder DIR] [--quick] [--json]

Trajectories have eight steps of about 60 words.  "one" commits each trajectory by itself, "100" a hundred together;
"threads" shares commits among eight threads of a process, "processes" lets four write to one file.  "with vectors" also
embeds (hashed words, 512 entries) and stores the vectors.  Beside it, in the same run and on the same texts: plain
`sqlite3` `executemany` with the same columns, log and syncs, and LanceDB where it is installed (`pip install lancedb`).
`--reindex` is the number of rows that a graph is made of (1000000 takes an hour on two cores); 0 leaves it out.
"""

import argparse
import importlib
import importlib.util
import json
import multiprocessing
import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import batched_or_none
from pathlib import Path
"""
