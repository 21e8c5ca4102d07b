# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .running import test, train

__all__ = ['test', 'train']
