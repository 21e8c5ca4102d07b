# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""What ``tools/benchmarks/accuracy.py`` does."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from ...datasets.mocap_dataset import load_mocap
from ...files import whole_file
from ...version import __version__
from . import analyses
from .conditions import CONDITIONS, TestSet, has_clips, make_test_set
from .evaluating import Lifted, lift_pairs, load_lifter, oracle_poses, pose_errors
from .plots import write_plots
from .real_frames import real_frame_errors
from .report import page
from .training import COMPETITORS, RUN_FILE, WEIGHTS_FILE, Competitor, Run, find_config, load_config, prepare, train_all

_WEIGHTS = Path(__file__).resolve().parents[2] / 'weights'
_SHIPPED = {'shipped': 'stereo-lift_default', 'shipped-coco': 'stereo-lift_coco'}
_SHIPPED_TITLES = {'shipped': 'shipped, H36M-17', 'shipped-coco': 'shipped, COCO-17'}
_MOCAP_FILE, _BODIES_FILE = 'data/mocap/mocap.npz', 'data/mocap/bodies.npz'
_NUM_BINS = 8
# Where uncertainties are judged.
_COVERAGE_CONDITIONS = ('exact', 'detector', 'missing_3', 'truncated', 'anny', 'coco_exact', 'coco_detector')
_REFERENCE = 'exact'


@dataclass
class _Row:
    """A column of the tables: one network, in all its trainings.

    Attributes:
        name: Key of the results.
        title: As the page calls it.
        explanation: A sentence.
        config_name: Name of the config file.
        config: The config, as trained by itself: without a budget.
        coarse_title: Title of the same network without its search; ``None`` for none.
        lifters: The models, one a training.
        runs: What is known of each training.
    """

    name: str
    title: str
    explanation: str
    config_name: str
    config: Config
    coarse_title: str | None = None
    lifters: list[nn.Module] = field(default_factory=list)
    runs: list[dict] = field(default_factory=list)

    @property
    def takes_coco(self) -> bool:
        return self.lifters[0].head.decoder.keypoint_set == 'coco'

    @property
    def has_search(self) -> bool:
        return getattr(self.lifters[0].head, 'search', None) is not None

    @property
    def has_uncertainty(self) -> bool:
        return getattr(self.lifters[0].head, 'loss_uncertainty', None) is not None


def run_benchmark(
    out: str,
    models: Sequence[str] = tuple(COMPETITORS),
    pairs: int = 524288,
    seeds: Sequence[int] = (0, 1, 2),
    checkpoints: Sequence[str] = (),
    shipped: bool = False,
    num_test: int = 8192,
    work_dir: str = 'work_dirs/accuracy',
    ann_file: str = _MOCAP_FILE,
    bodies_file: str = _BODIES_FILE,
    conditions: Sequence[str] | None = None,
    jobs: int = 1,
    cfg_options: Mapping | None = None,
    real: str | None = None,
    command: str = 'python tools/benchmarks/accuracy.py',
    say: Callable[[str], None] = print,
) -> dict:
    """Train, evaluate, and write the page with its JSON and its plots.

    Args:
        out: Markdown file; JSON and PNG files go beside it.
        models: Names in :data:`COMPETITORS`, or config files. The first is what the others are compared with.
        pairs: Budget of each training.
        seeds: A training each.
        checkpoints: ``NAME=FILE``: weights of a network of ``models``, which is then not trained. More than one of a
            name stand for its seeds.
        shipped: Evaluate the lifters that the package ships too.
        num_test: Test pairs of a condition.
        work_dir: Folder of the trainings, which are continued and taken again.
        ann_file: Motion capture, from ``mocap2npz.py``.
        bodies_file: Parametric bodies, from ``mocap2bodies.py``. Without it the conditions that take it are left out.
        conditions: Names in :data:`CONDITIONS`. Default: all.
        jobs: Trainings at once.
        cfg_options: Overrides of every config by dotted key.
        real: Folder with the real frames, ``h36m`` and ``mpi_inf_3dhp``. Default: none.
        command: How the benchmark was started, for the page.
        say: Told what happens.

    Returns:
        The results, as in the JSON file.

    Raises:
        ValueError: For unknown names, numbers that are not positive, or files that cannot be read.
        RuntimeError: If a training fails.
    """
    for name, value in (('pairs', pairs), ('num_test', num_test), ('jobs', jobs)):
        if value < 1:
            raise ValueError(f'{name} takes a positive number, got {value}')
    chosen = _choose_conditions(conditions)
    target = Path(out)
    if target.suffix != '.md':
        raise ValueError(f'out takes a file name that ends in .md, got {out}')
    load_mocap(ann_file)
    files = {_MOCAP_FILE: ann_file, _BODIES_FILE: bodies_file}
    rows = _rows(models, _parse_checkpoints(checkpoints), shipped, files, cfg_options, say)
    runs = [
        prepare(competitor, seed, pairs, Path(work_dir), files, cfg_options, say)
        for row, competitor in rows
        if competitor
        for seed in seeds
    ]
    train_all(runs, jobs, say)
    for row, competitor in rows:
        if competitor:
            _load_runs(row, [run for run in runs if run.competitor.name == row.name])
    columns = [row for row, _ in rows]
    results = dict(
        settings=dict(
            command=command, pairs=pairs, seeds=list(seeds), num_test=num_test, version=__version__,
            torch=torch.__version__, machine=platform.machine(),
            threads=torch.get_num_threads(), device='cuda' if torch.cuda.is_available() else 'cpu',
        ),
        models={row.name: _describe(row) for row in columns},
        conditions={}, errors={}, failed={}, left_out={},
    )  # fmt: skip
    reference = next((row for row in columns if not row.takes_coco), columns[0])
    _evaluate(columns, chosen, reference.config, files, num_test, results, say)
    if real and not Path(real).is_dir():
        results['left_out']['real frames'] = f'no folder {real}'
    elif real:
        results['real'] = real_frame_errors([(row.name, row.lifters) for row in columns], real)
    target.parent.mkdir(parents=True, exist_ok=True)
    results['plots'] = write_plots(results, target)
    with whole_file(target.with_suffix('.json')) as file:
        file.write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    with whole_file(target) as file:
        file.write_text(page(results), encoding='utf-8')
    say(f'{target}, {target.with_suffix(".json")}' + ''.join(f', {name}' for name in results['plots']))
    return results


def _choose_conditions(names: Sequence[str] | None) -> list[str]:
    for name in names or ():
        if name not in CONDITIONS:
            raise ValueError(f'conditions takes names of {list(CONDITIONS)}, got {name!r}')
    return [name for name in CONDITIONS if names is None or name in names]


def _parse_checkpoints(pairs: Sequence[str]) -> dict[str, list[str]]:
    checkpoints: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, path = pair.partition('=')
        if not equals:
            raise ValueError(f'checkpoints takes NAME=FILE, got {pair!r}')
        if not Path(path).is_file():
            raise ValueError(f'checkpoints: no such file: {path}')
        checkpoints.setdefault(name, []).append(path)
    return checkpoints


def _rows(
    models: Sequence[str], checkpoints: Mapping[str, Sequence[str]], shipped: bool, files: Mapping[str, str],
    options: Mapping | None, say: Callable[[str], None],
) -> list[tuple[_Row, Competitor | None]]:  # fmt: skip
    """Columns of the tables, each with what to train, or ``None`` where weights are given and loaded."""
    competitors = {}
    for name in models:
        if name in COMPETITORS:
            competitors[name] = COMPETITORS[name]
        elif name.endswith('.py') and Path(name).is_file():
            competitors[Path(name).stem] = Competitor(Path(name).stem, Path(name).stem, 'A config of your own.', name)
        else:
            raise ValueError(f'models takes names of {list(COMPETITORS)} or config files, got {name!r}')
    unknown = set(checkpoints) - set(competitors)
    if unknown:
        raise ValueError(f'checkpoints: {sorted(unknown)[0]!r} is not among the models {list(competitors)}')
    rows = []
    for name, what in competitors.items():
        path = find_config(what.config)
        config = load_config(path, files, options)
        row = _Row(name, what.title, what.explanation, Path(path).name, config, what.without_search)
        for weights in checkpoints.get(name, ()):
            row.lifters.append(load_lifter(config, weights))
            row.runs.append(dict(checkpoint=Path(weights).name))
        rows.append((row, None if name in checkpoints else what))
    for name, stem in _SHIPPED.items() if shipped else ():
        path, weights = _WEIGHTS / f'{stem}.py', _WEIGHTS / f'{stem}.pth'
        if not weights.is_file():
            say(f'{stem}: not shipped with this version; left out')
            continue
        config = load_config(path, files)
        explanation = 'The weights in the package, at the budget of their config.'
        row = _Row(name, _SHIPPED_TITLES[name], explanation, path.name, config)
        row.lifters.append(load_lifter(config, weights))
        row.runs.append(dict(checkpoint=weights.name))
        rows.append((row, None))
    if not rows:
        raise ValueError('models is empty: takes at least one')
    return rows


def _load_runs(row: _Row, runs: Sequence[Run]) -> None:
    for run in runs:
        row.lifters.append(load_lifter(Config.fromfile(str(run.folder / 'config.py')), run.folder / WEIGHTS_FILE))
        about = json.loads((run.folder / RUN_FILE).read_text(encoding='utf-8'))
        row.runs.append(dict(seed=run.seed, folder=run.folder.name, **about))


def _describe(row: _Row) -> dict:
    dataset = row.config.train_dataloader.dataset
    return dict(
        title=row.title,
        explanation=row.explanation,
        coarse_title=row.coarse_title if row.has_search else None,
        config=row.config_name,
        parameters=sum(p.numel() for p in row.lifters[0].parameters()),
        keypoints='COCO-17' if row.takes_coco else 'H36M-17',
        view=row.lifters[0].head.decoder.view,
        search=row.has_search,
        uncertainty=row.has_uncertainty,
        own_pairs=row.config.train_cfg.max_epochs * dataset.get('num_pairs', 0),
        training=_plain({k: v for k, v in dataset.items() if k not in ('codec', 'pipeline', 'seed')}),
        runs=row.runs,
    )


def _plain(value: object) -> object:
    return json.loads(json.dumps(value, default=str))


def _evaluate(
    rows: Sequence[_Row], names: Sequence[str], reference: Config, files: Mapping[str, str], num_test: int,
    results: dict, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Fill in the results, one condition after another."""
    base = reference.test_dataloader.dataset.to_dict()
    for name in names:
        condition = CONDITIONS[name]
        own = {**base, 'ann_file': files[_BODIES_FILE]} if condition.bodies else base
        if condition.bodies and not Path(own['ann_file']).is_file():
            results['left_out'][name] = f'no file {own["ann_file"]}'
            continue
        if not has_clips(condition, own):
            results['left_out'][name] = f'{own["ann_file"]} has none of its clips'
            continue
        taking = [row for row in rows if condition.coco or not row.takes_coco]
        if not taking:
            results['left_out'][name] = 'no lifter that takes its keypoints'
            continue
        sets = {coco: make_test_set(condition, own, num_test, not coco) for coco in {row.takes_coco for row in taking}}
        test_set = next(iter(sets.values()))
        results['conditions'][name] = dict(
            group=condition.group, title=condition.title, explanation=condition.explanation, pairs=len(test_set),
            **analyses.posture_shares(test_set),
        )  # fmt: skip
        results['errors'][name], results['failed'][name] = {}, {}
        by_pose: dict[str, list[np.ndarray]] = {}
        for row in taking:
            for lifter in row.lifters:
                lifted = lift_pairs(lifter, sets[row.takes_coco].pairs)
                _note_errors(results, name, row, lifted, by_pose)
                if row.has_uncertainty and name in _COVERAGE_CONDITIONS:
                    by_row = results.setdefault('coverage', {}).setdefault(name, {})
                    by_row.setdefault(row.name, []).append(analyses.coverage(lifted))
        if name == _REFERENCE:
            _note_pose_distance(results, test_set, reference, by_pose)
            _note_oracles(results, rows, test_set)
        if name == 'anny':
            _note_bodies(results, test_set, own['ann_file'], by_pose)
        say(f'{name}: ' + ', '.join(f'{r} {np.mean(e["P-MPJPE"]):.1f}' for r, e in results['errors'][name].items()))


def _note_errors(results: dict, name: str, row: _Row, lifted: Lifted, by_pose: dict) -> None:
    """Add a training's errors under a condition, after the search and before it."""
    answers = {row.name: lifted.pose}
    if row.coarse_title and row.has_search:
        answers[f'{row.name}/coarse'] = lifted.coarse
    for key, pose in answers.items():
        errors = pose_errors(pose, lifted.target)
        by_error = results['errors'][name].setdefault(key, {})
        for error, values in errors.items():
            by_error.setdefault(error, []).append(float(values.mean()))
        by_pose.setdefault(key, []).append(errors['P-MPJPE'].numpy())
    if row.has_search:
        results['failed'][name].setdefault(row.name, []).append(int(lifted.failed.sum()))


def _note_pose_distance(results: dict, test_set: TestSet, reference: Config, by_pose: Mapping) -> None:
    training = analyses.training_poses(reference.train_dataloader.dataset.to_dict())
    distance = 1000 * analyses.pose_distances(test_set, training)
    results['pose_distance'] = dict(_binned(distance, by_pose), training_poses=len(training) // 2)


def _binned(values: np.ndarray, by_pose: Mapping) -> dict:
    """Errors in bins of as many pairs each, by a value of each pair."""
    edges, bins = analyses.quantile_bins(values, _NUM_BINS)
    count = len(edges) - 1
    return dict(
        edges=[float(edge) for edge in edges],
        means=analyses.bin_means(values, bins, count),
        pairs=np.bincount(bins, minlength=count).tolist(),
        errors={key: [analyses.bin_means(e, bins, count) for e in errors] for key, errors in by_pose.items()},
    )


def _note_bodies(results: dict, test_set: TestSet, bodies_file: str, by_pose: Mapping) -> None:
    measures = analyses.body_measures(test_set.pairs.pose_cam)
    results['proportions'] = {measure: _binned(values, by_pose) for measure, values in measures.items()}
    results['people'] = {
        group: dict(
            pairs=int(chosen.sum()),
            stature=float(measures['stature'][chosen].mean()),
            leg_to_trunk=float(measures['leg_to_trunk'][chosen].mean()),
            errors={key: [float(v[chosen].mean()) for v in values] for key, values in by_pose.items()},
        )
        for group, chosen in analyses.body_groups(bodies_file, test_set.file_frames).items()
        if chosen.any()
    }


def _note_oracles(results: dict, rows: Sequence[_Row], test_set: TestSet) -> None:
    target = test_set.pairs.pose_cam[:, :17] - test_set.pairs.pose_cam[:, :1]
    for row in rows:
        if row.takes_coco or not row.has_search or row.lifters[0].head.decoder.view != 'ray':
            continue
        told: dict[str, dict[str, list[float]]] = {}
        for lifter in row.lifters:
            for name, pose in oracle_poses(lifter, test_set.pairs).items():
                for error, values in pose_errors(pose, target).items():
                    told.setdefault(name, {}).setdefault(error, []).append(float(values.mean()))
        results.setdefault('oracles', {})[row.name] = told
