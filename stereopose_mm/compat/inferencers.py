# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""MMEngine's inferencers and a test dataloader's `collate_fn`.

The Runner takes it as a dict, `dict(type=...)`; an inferencer looks it up by name and fails on a dict.
"""

from __future__ import annotations

import functools

from mmengine.dataset import pseudo_collate
from mmengine.infer import BaseInferencer


def apply() -> None:
    """Let inferencers put single samples together, whatever the dataloader does with its batches."""
    if not getattr(BaseInferencer._init_collate, 'stereopose_mm', False):
        BaseInferencer._init_collate = _with_dicts(BaseInferencer._init_collate)


def _with_dicts(upstream):
    @functools.wraps(upstream)
    def _init_collate(self, cfg):
        if isinstance(cfg.get('test_dataloader', {}).get('collate_fn'), dict):
            return pseudo_collate
        return upstream(self, cfg)

    _init_collate.stereopose_mm = True
    return _init_collate
