# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What ``tools/train.py`` and ``tools/test.py`` do."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from ..evaluation.leaderboard import PREDICTIONS_FILE, write_leaderboard
from ..evaluation.pose_errors import POSE_ERRORS
from ..files import whole_file
from ..version import __version__

_PACKAGES = ('mmpose', 'mmengine', 'torch', 'numpy')


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
    leaderboard: str | None = None,
    name: str | None = None,
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
        leaderboard: Folder for the tables and plots of papers and the raw predictions, written by the first process,
            of every error, unless the config names its ``metrics``. See
            :func:`.evaluation.leaderboard.write_leaderboard`.
        name: Name of the method in these tables. Default: the config's.

    Returns:
        Metrics by name; also written to ``out`` by the first process.

    Raises:
        ValueError: If there is to be a leaderboard, but the config's ``test_evaluator`` has not one ``MPJPEMetric``.
    """
    cfg = _load_config(config, work_dir, cfg_options, launcher, local_rank)
    cfg.load_from = checkpoint
    if leaderboard:
        about = _describe(cfg, config, checkpoint, cfg_options)
        metric = _find_metric(cfg, config)
        metric.setdefault('metrics', 'all')
        metric.out_file = str(Path(leaderboard, PREDICTIONS_FILE))
    if out:
        # Before the evaluation, which can take long: a folder that cannot be made is known at once.
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    runner = Runner.from_cfg(cfg)
    metrics = runner.test()
    if leaderboard and runner.rank == 0:
        write_leaderboard(leaderboard, name or Path(config).stem, about, _labels(metric.metrics))
    if out and runner.rank == 0:
        with whole_file(out) as file:
            file.write_text(json.dumps(metrics, indent=2) + '\n', encoding='utf-8')
    return metrics


def _find_metric(cfg: Config, config: str) -> ConfigDict:
    """The config's one ``MPJPEMetric``, alone or among other metrics."""
    if _type_name(cfg.get('test_evaluator')) == 'MPJPEMetric':
        # MMEngine takes a mapping with a key 'metrics' for an Evaluator; a list of one metric is the same otherwise.
        cfg.test_evaluator = [cfg.test_evaluator]
    evaluator = cfg.get('test_evaluator') or []
    if isinstance(evaluator, dict):
        evaluator = evaluator.get('metrics', [evaluator])
    metrics = [evaluator] if isinstance(evaluator, dict) else list(evaluator)
    names = [_type_name(metric) for metric in metrics]
    if names.count('MPJPEMetric') != 1:
        raise ValueError(f'{config}: test_evaluator has {names}; a leaderboard takes one MPJPEMetric')
    return metrics[names.index('MPJPEMetric')]


def _labels(metrics: str | Sequence[str]) -> list[str]:
    """Labels of the errors that MPJPEMetric takes these names for."""
    if metrics == 'all':
        metrics = list(POSE_ERRORS)
    return [POSE_ERRORS[name].label for name in ([metrics] if isinstance(metrics, str) else metrics)]


def _type_name(part: object) -> str:
    """Name of the class that a part of a config is of, which may be written as text or as the class."""
    kind = part.get('type', '') if isinstance(part, dict) else ''
    return getattr(kind, '__name__', str(kind)).rpartition('.')[2]


def _describe(cfg: Config, config: str, checkpoint: str, cfg_options: dict | None) -> dict:
    """What runs, for the page of a leaderboard."""
    dataset = cfg.test_dataloader.dataset
    return dict(
        config=config,
        overrides={key: str(value) for key, value in (cfg_options or {}).items()},
        checkpoint=Path(checkpoint).name,
        checkpoint_sha256=_sha256(checkpoint),
        data_set=_type_name(dataset),
        annotations=str(dataset.get('ann_file', '')),
        versions=dict(
            {'stereopose-mm': __version__, 'python': platform.python_version()},
            **{package: _version(package) for package in _PACKAGES},
        ),
    )


def _sha256(path: str) -> str | None:
    """Hash of a file; of a checkpoint on the network, none."""
    if not Path(path).is_file():
        return None
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return 'unknown'
