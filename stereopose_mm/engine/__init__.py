# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .dataset_check import check_dataset
from .dataset_report import DatasetReport
from .publishing import publish
from .running import test, train

__all__ = ['DatasetReport', 'check_dataset', 'publish', 'test', 'train']
