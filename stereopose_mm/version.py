# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The version of the package: setup.py reads it from here without importing the package."""

__version__ = '0.1.0'
