# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""One training of the benchmark: ``python -m stereopose_mm.engine.accuracy.train_job FOLDER``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ...compat.convolutions import single_frames_as_linear
from ...files import whole_file
from ..calibration import calibrate_uncertainty
from ..running import train
from .evaluating import load_lifter
from .training import CONFIG_FILE, RUN_FILE, WEIGHTS_FILE


def train_job(folder: str | Path) -> None:
    """Train the config in a folder, from its last checkpoint where there is one, and leave nothing but the weights.

    Uncertainties, where the network has them, are calibrated as :func:`publish` does.

    Args:
        folder: Folder with the config.
    """
    folder = Path(folder)
    config = Config.fromfile(str(folder / CONFIG_FILE))
    start = time.perf_counter()
    with single_frames_as_linear():
        train(str(folder / CONFIG_FILE), work_dir=str(folder), resume='auto', no_validate=True)
    seconds = time.perf_counter() - start
    checkpoint = folder / f'epoch_{config.train_cfg.max_epochs}.pth'
    state = torch.load(checkpoint, map_location='cpu', weights_only=True)['state_dict']
    if 'head.uncertainty_scale' in state:
        model = load_lifter(config, checkpoint).cpu()
        with DefaultScope.overwrite_default_scope('mmpose'):
            calibrate_uncertainty(model, config)
        state['head.uncertainty_scale'] = model.head.uncertainty_scale.clone()
    with whole_file(folder / WEIGHTS_FILE) as file:
        torch.save(dict(state_dict={key: value.clone() for key, value in state.items()}), file)
    about = dict(
        seconds=seconds,
        pairs=config.train_cfg.max_epochs * config.train_dataloader.dataset.num_pairs,
        threads=torch.get_num_threads(),
        device='cuda' if torch.cuda.is_available() else 'cpu',
    )
    with whole_file(folder / RUN_FILE) as file:
        file.write_text(json.dumps(about, indent=2) + '\n', encoding='utf-8')
    # Optimiser states are three times the weights.
    for path in folder.glob('epoch_*.pth'):
        path.unlink()


if __name__ == '__main__':
    train_job(sys.argv[1])
