# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Evaluation metrics, registered in MMPose's registry."""

from .mpjpe_metric import MPJPEMetric

__all__ = ['MPJPEMetric']
