# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of lifted poses."""

from .lift_picture import draw_lift_picture

__all__ = ['draw_lift_picture']
