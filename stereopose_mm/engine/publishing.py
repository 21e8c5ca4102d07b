# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What ``tools/misc/publish_lifter.py`` does."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint
from mmpose.registry import MODELS

from ..files import whole_file
from ..version import __version__
from .calibration import calibrate_uncertainty


def publish(config: str, checkpoint: str, out: str) -> int:
    """Write a checkpoint without optimiser and history, and its config in one file.

    Uncertainties, where the lifter has them, are calibrated first, which takes the data: see
    :func:`calibrate_uncertainty`.

    Args:
        config: Config file that the checkpoint was trained with.
        checkpoint: Checkpoint that training wrote, or its folder for the last one in it.
        out: File to write, ``.pth``; the config is written beside it with the suffix ``.py``.

    Returns:
        Size of the checkpoint in bytes.

    Raises:
        ValueError: If ``out`` does not end in ``.pth``, or the folder holds no checkpoint.
    """
    target = Path(out)
    if target.suffix != '.pth':
        raise ValueError(f'out takes a file name that ends in .pth, got {out}')
    if Path(checkpoint).is_dir():
        folder, checkpoint = checkpoint, find_latest_checkpoint(checkpoint)
        if checkpoint is None:
            raise ValueError(f'{folder}: no checkpoint in this folder')
    loaded = torch.load(checkpoint, map_location='cpu', weights_only=True)
    meta = loaded.get('meta', {})
    state = {k: v.clone() for k, v in loaded['state_dict'].items()}
    if 'head.uncertainty_scale' in state:
        cfg = Config.fromfile(config)
        lifter = MODELS.build(cfg.model)
        lifter.load_state_dict(state)
        calibrate_uncertainty(lifter, cfg)
        state['head.uncertainty_scale'] = lifter.head.uncertainty_scale.clone()
    # Nothing but tensors, numbers and strings: it loads with weights_only=True anywhere.
    kept = dict(
        state_dict=state,
        meta=dict(
            epoch=meta.get('epoch'),
            seed=meta.get('seed'),
            stereopose_mm_version=__version__,
        ),
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as weights, whole_file(target.with_suffix('.py')) as config_file:
        torch.save(kept, weights)
        Config.fromfile(config).dump(config_file)
    return target.stat().st_size
