# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .calibration import calibrate_uncertainty
from .dataset_check import check_dataset
from .dataset_report import DatasetReport
from .publishing import publish
from .running import test, train

__all__ = ['DatasetReport', 'calibrate_uncertainty', 'check_dataset', 'publish', 'test', 'train']
