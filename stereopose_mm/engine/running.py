# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What ``tools/train.py`` and ``tools/test.py`` do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from ..files import whole_file


def _load_config(config: str, work_dir: str | None, cfg_options: dict | None, launcher: str, local_rank: int) -> Config:
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg = Config.fromfile(config)
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs', Path(config).stem))
    if not torch.cuda.is_available():
        cfg.env_cfg.dist_cfg.backend = 'gloo'
    if cfg_options:
        cfg.merge_from_dict(cfg_options)
    return cfg


def train(
    config: str,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    no_validate: bool = False,
    cfg_options: dict | None = None,
    launcher: str = 'none',
    local_rank: int = 0,
) -> Runner:
    """Train a model.

    Args:
        config: Config file.
        work_dir: Folder for logs and checkpoints. Default: the config's, else ``work_dirs/<config name>``.
        resume: Checkpoint to continue from; ``'auto'`` takes the latest in ``work_dir``.
        amp: Mixed precision.
        no_validate: Leave evaluation out.
        cfg_options: Overrides of config values by dotted key.
        launcher: ``'none'``, or how processes were started: ``'pytorch'``, ``'slurm'``, ``'mpi'``.
        local_rank: Rank on this machine, where the launcher passes it as an argument.

    Returns:
        The runner, after training.

    Raises:
        ValueError: If ``amp`` is asked for without a GPU.
    """
    cfg = _load_config(config, work_dir, cfg_options, launcher, local_rank)
    if amp and not torch.cuda.is_available():
        raise ValueError('amp takes a GPU; none is available')
    if amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        # Without validation there is no best checkpoint to keep.
        cfg.default_hooks.checkpoint.save_best = None
    if resume:
        cfg.resume = True
        cfg.load_from = None if resume == 'auto' else resume
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def test(
    config: str,
    checkpoint: str,
    work_dir: str | None = None,
    out: str | None = None,
    cfg_options: dict | None = None,
    launcher: str = 'none',
    local_rank: int = 0,
) -> dict[str, float]:
    """Evaluate a checkpoint.

    Args:
        config: Config file.
        checkpoint: Checkpoint file.
        work_dir: Folder for logs. Default: the config's, else ``work_dirs/<config name>``.
        out: JSON file for the metrics.
        cfg_options: Overrides of config values by dotted key.
        launcher: As for :func:`train`.
        local_rank: As for :func:`train`.

    Returns:
        Metrics by name; also written to ``out`` by the first process.
    """
    cfg = _load_config(config, work_dir, cfg_options, launcher, local_rank)
    cfg.load_from = checkpoint
    runner = Runner.from_cfg(cfg)
    metrics = runner.test()
    if out and runner.rank == 0:
        with whole_file(out) as file:
            file.write_text(json.dumps(metrics, indent=2) + '\n', encoding='utf-8')
    return metrics
