# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Trains the networks that are compared, each in a process of its own, and does not train what is there."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ...datasets.statistics import write_statistics
from ...files import whole_file

CONFIG_FILE, WEIGHTS_FILE, RUN_FILE, LOG_FILE = 'config.py', 'weights.pth', 'run.json', 'log.txt'
# What training depends on: all else in a config may change without training again.
_TRAINING_KEYS = (
    'model',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'custom_hooks',
    'randomness',
)
# What of a model only its evaluation heeds.
_EVALUATION_KEYS = (('head', 'search'), ('backbone', 'flip_test'))
# Lengths in a scheduler's own unit, which a budget scales.
_SCHEDULE_LENGTHS = ('total_steps', 'T_max', 'begin', 'end', 'step_size', 'milestones')
_STATISTICS_PAIRS = 200_000
_POLL_S = 0.5


@dataclass(frozen=True)
class Competitor:
    """A network that is compared.

    Attributes:
        name: Key in :data:`COMPETITORS`, and its folder's name.
        title: Its column in the tables.
        explanation: A sentence for the page.
        config: Config file, relative to the project's root; a pattern for the one that there is, as names tell batch
            sizes and epochs.
        without_search: Title of a second column, the same network's coarse pose; ``None`` for none.
    """

    name: str
    title: str
    explanation: str
    config: str
    without_search: str | None = None


_FOLDER = 'configs/stereo_lift'
#: Networks by name; the first is what the others are compared with.
COMPETITORS = {
    competitor.name: competitor
    for competitor in (
        Competitor(
            'simplebaseline3d', 'SimpleBaseline3D',
            "MMPose's network (Martinez et al., ICCV 2017) on screen-normalised pixels.",
            f'{_FOLDER}/simplebaseline3d_res1024_1xb*_mocap.py',
        ),
        Competitor(
            'videopose3d', 'VideoPose3D, 1 frame',
            "MMPose's network (Pavllo et al., CVPR 2019) on screen-normalised pixels of one frame.",
            f'{_FOLDER}/video-pose-lift_tcn-1frm_1xb*_mocap.py',
        ),
        Competitor(
            'pixel', 'the paper',
            'Wang et al. (ICCVW 2019): pixels relative to the root, width, dropout and losses as released.',
            f'{_FOLDER}/stereo-lift_pixel-res1024_1xb*_mocap.py',
        ),
        Competitor(
            'mono', 'ours, no view synthesis', 'Our network without the synthesised right view.',
            f'{_FOLDER}/stereo-lift_mono-res512_1xb*_mocap.py',
        ),
        Competitor(
            'ours', 'ours', 'Ray view, synthesised right view, geometric search.',
            f'{_FOLDER}/stereo-lift_res512_1xb*_mocap.py', without_search='ours, no search',
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training of one network.

    Attributes:
        competitor: What.
        seed: With which seed.
        pairs: Budget.
        folder: Where; it has the config, and when it is done the weights.
    """

    competitor: Competitor
    seed: int
    pairs: int
    folder: Path

    @property
    def done(self) -> bool:
        """Whether the training ran to its end."""
        return (self.folder / RUN_FILE).is_file() and (self.folder / WEIGHTS_FILE).is_file()


def find_config(pattern: str | Path) -> str:
    """The config file that a path or a pattern names.

    Raises:
        ValueError: If there is not one.
    """
    found = sorted(glob.glob(str(pattern)))
    if len(found) != 1:
        raise ValueError(f'config takes the name of one file, got {pattern}: there are {len(found)}')
    return found[0]


def load_config(path: str | Path, files: Mapping[str, str], options: Mapping | None = None) -> Config:
    """Read a config and put other files in the place of its own.

    Args:
        path: Config file.
        files: Files by what the config calls them.
        options: Overrides of config values by dotted key.

    Raises:
        ValueError: As :func:`find_config`.
    """
    config = Config.fromfile(find_config(path))
    if options:
        config.merge_from_dict(dict(options))
    _replace(config._cfg_dict, lambda key, value: files.get(value, value) if isinstance(value, str) else value)
    return config


def with_budget(config: Config, pairs: int, seed: int) -> Config:
    """Give a config a budget and a seed: as many pairs, its own schedule over all of them.

    Args:
        config: Config; it is changed.
        pairs: Pairs to train on in all, about: epochs are whole and alike.
        seed: Of the weights, the order and the pairs.

    Returns:
        The config.

    Raises:
        ValueError: If there are too few pairs for the schedule.
    """
    loader, dataset = config.train_dataloader, config.train_dataloader.dataset
    steps = config.train_cfg.max_epochs * -(-dataset.num_pairs // loader.batch_size)
    old_epochs = config.train_cfg.max_epochs
    epochs = max(1, round(pairs / dataset.num_pairs))
    dataset.num_pairs = -(-pairs // epochs)
    config.train_cfg.max_epochs = epochs
    new_steps = epochs * -(-dataset.num_pairs // loader.batch_size)
    schedulers = config.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        old, new = (old_epochs, epochs) if scheduler.get('by_epoch', True) else (steps, new_steps)
        ratio = new / old
        for key in _SCHEDULE_LENGTHS:
            if key == 'total_steps' and key in scheduler:
                # All of the training, whatever the batch size was when the config was written.
                scheduler[key] = new
                if scheduler.get('pct_start', 0.3) * new <= 1:
                    raise ValueError(f'pairs takes more: {pairs} are {new} steps, too few for the schedule to rise in')
            elif isinstance(scheduler.get(key), int):
                scheduler[key] = max(0 if key == 'begin' else 1, round(scheduler[key] * ratio))
            elif isinstance(scheduler.get(key), Sequence):
                scheduler[key] = [round(value * ratio) for value in scheduler[key]]
    config.randomness = dict(config.get('randomness') or {}, seed=seed)
    dataset.seed = seed
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    return config


def prepare(
    competitor: Competitor, seed: int, pairs: int, work_dir: Path, files: Mapping[str, str], options: Mapping | None,
    say: Callable[[str], None],
) -> Run:  # fmt: skip
    """Make the folder of a run, named by its budget, its seed and all that its training depends on.

    Args:
        competitor: What to train.
        seed: Seed.
        pairs: Budget.
        work_dir: Folder of all runs.
        files: See :func:`load_config`.
        options: See :func:`load_config`.
        say: Told of runs of other configs, which are not taken.

    Returns:
        The run.
    """
    config = with_budget(load_config(competitor.config, files, options), pairs, seed)
    name = f'{pairs}-seed{seed}'
    parent = Path(work_dir, competitor.name)
    _make_statistics(config, parent)
    digest = fingerprint(config)
    run = Run(competitor, seed, pairs, parent / f'{name}-{digest[:8]}')
    others = [path.parent.name for path in sorted(parent.glob(f'{name}-*/{WEIGHTS_FILE}')) if path.parent != run.folder]
    if others and not run.folder.exists():
        say(f'{competitor.name}: of another config or other data, and not taken: {", ".join(others)}')
    run.folder.mkdir(parents=True, exist_ok=True)
    with whole_file(run.folder / CONFIG_FILE) as file:
        config.dump(file)
    return run


def _make_statistics(config: Config, folder: Path) -> None:
    """Give codecs that standardise with statistics those of the config's own training pairs."""
    paths = []
    _replace(config._cfg_dict, lambda key, value: paths.append(value) or value if key == 'statistics' else value)
    if not paths:
        return
    dataset = {key: value for key, value in config.train_dataloader.dataset.items() if key not in ('codec', 'seed')}
    count = min(_STATISTICS_PAIRS, dataset['num_pairs'])
    digest = hashlib.sha256(json.dumps(dataset, sort_keys=True, default=str).encode()).hexdigest()
    target = folder / f'statistics-{digest[:8]}.json'
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        whole = folder / f'statistics-{digest[:8]}.py'
        config.dump(whole)
        write_statistics(str(whole), str(target), count)
        whole.unlink()
    _replace(config._cfg_dict, lambda key, value: str(target) if key == 'statistics' else value)


def fingerprint(config: Config) -> str:
    """Hash of all that the result of a training depends on: parts of the config, and the data that they name."""
    parts = {key: config._cfg_dict[key] for key in _TRAINING_KEYS if config._cfg_dict.get(key) is not None}
    copy = Config(dict(parts=json.loads(json.dumps(parts, default=str))))
    for part, key in _EVALUATION_KEYS:
        copy._cfg_dict['parts'].get('model', {}).get(part, {}).pop(key, None)

    def contents(key: str, value: object) -> object:
        is_data = key in ('statistics', 'ann_file') and isinstance(value, str)
        return _sha256(Path(value)) if is_data and Path(value).is_file() else value

    _replace(copy._cfg_dict, contents)
    return hashlib.sha256(json.dumps(copy._cfg_dict, sort_keys=True, default=str).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _replace(node: object, change: Callable[[str, object], object], key: str = '') -> None:
    """Change the leaves of a config in place."""
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    else:
        return
    for place, value in items:
        name = place if isinstance(node, dict) else key
        if isinstance(value, dict | list):
            _replace(value, change, name)
        else:
            node[place] = change(name, value)


def train_all(runs: Sequence[Run], jobs: int, say: Callable[[str], None]) -> None:
    """Train what is not done, so many at once.

    Args:
        runs: From :func:`prepare`.
        jobs: Processes at once; each has one thread where there are several.
        say: Told when a run starts and ends.

    Raises:
        RuntimeError: If a training fails; with the end of its log. The others are ended too, and continue from their
            last epoch next time.
    """
    waiting = [run for run in runs if not run.done]
    for run in runs:
        if run.done:
            say(f'{_label(run)}: there')
    running: list[tuple[Run, subprocess.Popen]] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                say(f'{_label(run)}: training')
                running.append((run, _start(run, one_thread=jobs > 1)))
            time.sleep(_POLL_S)
            for run, process in list(running):
                if process.poll() is None:
                    continue
                running.remove((run, process))
                if process.returncode != 0:
                    log = (run.folder / LOG_FILE).read_text(encoding='utf-8', errors='replace')
                    raise RuntimeError(f'{_label(run)}: training failed ({run.folder / LOG_FILE}):\n{log[-2000:]}')
                say(f'{_label(run)}: done in {json.loads((run.folder / RUN_FILE).read_text())["seconds"]:.0f} s')
    finally:
        for _, process in running:
            process.terminate()
        for _, process in running:
            process.wait()


def _label(run: Run) -> str:
    return f'{run.competitor.name}, seed {run.seed}'


def _start(run: Run, one_thread: bool) -> subprocess.Popen:
    threads = dict(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1') if one_thread else {}
    with open(run.folder / LOG_FILE, 'w', encoding='utf-8') as log:
        return subprocess.Popen(
            [sys.executable, '-m', 'stereopose_mm.engine.accuracy.train_job', str(run.folder)],
            env={**os.environ, **threads},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
