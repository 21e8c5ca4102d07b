# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The accuracy benchmark: trains networks on identical pairs and evaluates them under many conditions."""

from .benchmark import run_benchmark
from .conditions import CONDITIONS, Condition, TestSet, make_test_set
from .evaluating import Lifted, lift_pairs, load_lifter, pose_errors
from .training import COMPETITORS, Competitor

__all__ = [
    'COMPETITORS',
    'CONDITIONS',
    'Competitor',
    'Condition',
    'Lifted',
    'TestSet',
    'lift_pairs',
    'load_lifter',
    'make_test_set',
    'pose_errors',
    'run_benchmark',
]
