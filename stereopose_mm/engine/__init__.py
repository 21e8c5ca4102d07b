# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
from .publishing import publish
from .running import test, train

__all__ = ['publish', 'test', 'train']
