# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Speed of the evaluation: every metric of MPJPEMetric, and its alignments against MMPose's MPJPE in the same run.

Poses are noise on a standing body, given to the metrics as the models give them: through MMEngine's Evaluator, as data
samples of 1,024 poses (our own data sets' batches) and of one pose (MMPose's heads). Figures are medians of repetitions
that take turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

PACKED = 1024
ACTIONS = (
    'Directions', 'Discussion', 'Eating', 'Greeting', 'Phoning', 'Photo', 'Posing', 'Purchases', 'Sitting',
    'SittingDown', 'Smoking', 'Waiting', 'WalkDog', 'Walking', 'WalkTogether',
)  # fmt: skip
SUBJECTS = ('S9', 'S11')
MODES = {'mpjpe': 'mpjpe', 'p_mpjpe': 'p-mpjpe', 'n_mpjpe': 'n-mpjpe'}
# H36M-17 in metres, y down.
STANDING = (
    (0, 0, 0), (-0.13, 0, 0), (-0.13, 0.44, 0), (-0.13, 0.89, 0), (0.13, 0, 0), (0.13, 0.44, 0), (0.13, 0.89, 0),
    (0, -0.23, 0), (0, -0.49, 0), (0, -0.6, -0.05), (0, -0.72, 0), (0.15, -0.49, 0), (0.18, -0.22, 0),
    (0.18, 0.03, -0.05), (-0.15, -0.49, 0), (-0.18, -0.22, 0), (-0.18, 0.03, -0.05),
)  # fmt: skip


def make_poses(num: int, seed: int = 0) -> dict:
    """Ground truth of bodies two to eight metres away, predictions some centimetres off, and who does what when."""
    import numpy as np

    rng = np.random.default_rng(seed)
    body = np.array(STANDING) + 0.08 * rng.standard_normal((num, 17, 3))
    body -= body[:, :1]
    root = rng.uniform((-1, -1, 2), (1, 1, 8), (num, 3))
    target = (body + root[:, None]).astype(np.float32)
    off = 0.03 * rng.standard_normal((num, 17, 3)) + 0.05 * rng.standard_normal((num, 1, 3))
    length = -(-num // (len(ACTIONS) * len(SUBJECTS)))
    clip = np.arange(num) // length
    return dict(
        target=target,
        visible=np.ones((num, 17), np.float32),
        pred=(target + off).astype(np.float32),
        reprojection_error=rng.random(num).astype(np.float32),
        action=[ACTIONS[i % len(ACTIONS)] for i in clip],
        subject=[SUBJECTS[i // len(ACTIONS)] for i in clip],
        frame=(np.arange(num) % length).tolist(),
    )


def make_samples(poses: dict, size: int) -> list:
    """Make data samples of ``size`` poses each, as a model gives them."""
    import torch
    from mmengine.structures import InstanceData
    from mmpose.structures import PoseDataSample

    samples = []
    for start in range(0, len(poses['target']), size):
        part = slice(start, start + size)
        meta = {key: poses[key][part] for key in ('action', 'subject', 'frame')}
        names = zip(meta['subject'], meta['action'], meta['frame'], strict=True)
        meta['target_img_path'] = [f'{subject}_{action}_1.54138969_{frame:06d}.jpg' for subject, action, frame in names]
        meta['clip'] = [path[:-11] for path in meta['target_img_path']]
        if size == 1:
            meta.update({key: meta[key][0] for key in ('action', 'subject', 'frame', 'clip')})
        sample = PoseDataSample(metainfo=dict(id=start, **meta))
        truth = dict(lifting_target=poses['target'][part], lifting_target_visible=poses['visible'][part])
        # Packed ground truth comes from the data set, as tensors.
        sample.gt_instances = InstanceData(
            **truth if size == 1 else {key: torch.from_numpy(array) for key, array in truth.items()}
        )
        sample.pred_instances = InstanceData(
            keypoints=poses['pred'][part],
            keypoints_cam=poses['pred'][part],
            reprojection_error=poses['reprojection_error'][part],
        )
        samples.append(sample)
    return samples


def timed(function) -> tuple[float, object]:
    """Wall time of a call in seconds, and what it gave."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def evaluate_everything(samples: list, num: int) -> tuple[float, float, dict]:
    """Seconds of collecting and of computing every metric, and the metrics."""
    from mmengine.evaluator import Evaluator

    options = dict(metrics='all', group_by=['action', 'subject'], sequence_key='clip', frame_key='frame')
    evaluator = Evaluator(dict(type='mmpose.MPJPEMetric', **options))

    def process() -> None:
        for start in range(0, len(samples), PACKED):
            evaluator.process(samples[start : start + PACKED])

    collecting, _ = timed(process)
    computing, results = timed(lambda: evaluator.evaluate(num))
    return collecting, computing, results


def bench_everything(poses: dict, samples: dict[str, list], repeats: int) -> dict:
    """Seconds of an evaluation with every metric, for each form of data samples."""
    num = len(poses['target'])
    runs = {name: [] for name in samples}
    for _ in range(repeats):
        for name, form in samples.items():
            *seconds, results = evaluate_everything(form, num)
            if results['poses'] != num or results['invalid']:
                raise RuntimeError(f'evaluated {results["poses"]} poses, {results["invalid"]} invalid, of {num}')
            runs[name].append(seconds)
    rows = {}
    for name, seconds in runs.items():
        collecting, computing = median(list(zip(*seconds, strict=True)))
        rows[f'{name}: collecting, s'] = collecting
        rows[f'{name}: computing, s'] = computing
        rows[f'{name}: both, s'] = collecting + computing
    return rows


def bench_against_mmpose(poses: dict, repeats: int) -> dict:
    """Seconds of ``compute_metrics`` of the same data samples, ours and MMPose's, by action and overall."""
    from mmpose.registry import METRICS

    # MMPose's takes the poses as they are: ours are the same numbers once the roots are at the origin.
    centred = {key: poses[key] - poses[key][:, :1] for key in ('target', 'pred')}
    samples = make_samples({**poses, **centred}, 1)
    metrics = {}
    for name, mode in MODES.items():
        metrics[name, 'ours'] = METRICS.build(dict(type='MPJPEMetric', metrics=name, group_by='action'))
        metrics[name, 'MMPose'] = METRICS.build(dict(type='MPJPE', mode=mode))
    for metric in metrics.values():
        metric.process(None, [sample.to_dict() for sample in samples])
    runs = {key: [] for key in metrics}
    found = {}
    for _ in range(repeats):
        for key, metric in metrics.items():
            seconds, found[key] = timed(lambda metric=metric: metric.compute_metrics(metric.results))
            runs[key].append(seconds)
    rows = {}
    for name, mode in MODES.items():
        ours, theirs = median([runs[name, 'ours'], runs[name, 'MMPose']])
        label = mode.upper()
        rows[f'{label}: ours, s'] = ours
        rows[f'{label}: MMPose, s'] = theirs
        rows[f'{label}: ratio'] = theirs / ours
        pairs = [(found[name, 'ours'][key], 1000 * value) for key, value in found[name, 'MMPose'].items()]
        rows[f'{label}: largest difference, relative'] = max(abs(a - b) / b for a, b in pairs)
    return rows


def median(runs: list) -> list[float]:
    import numpy as np

    return [float(np.median(seconds)) for seconds in runs]


def run_benchmark(num: int, repeats: int) -> dict:
    """Run everything; see the module."""
    import torch
    from mmengine.registry import init_default_scope

    import stereopose_mm

    init_default_scope('mmpose')
    poses = make_poses(num)
    samples = {
        f'samples of {PACKED:,} poses': make_samples(poses, PACKED),
        'samples of one pose': make_samples(poses, 1),
    }
    setting = dict(
        poses=num,
        repetitions=repeats,
        threads=torch.get_num_threads(),
        machine=platform.machine(),
        torch=torch.__version__,
        stereopose_mm=stereopose_mm.__version__,
    )
    return dict(
        setting=setting,
        everything=bench_everything(poses, samples, repeats),
        against_mmpose=bench_against_mmpose(poses, repeats),
    )


def to_markdown(results: dict) -> str:
    """Format the results as a page."""
    setting = results['setting']
    lines = [
        '# Speed of the evaluation',
        '',
        f'{setting["poses"]:,} poses, {setting["threads"]} threads, torch {setting["torch"]} on the CPU; medians of '
        f'{setting["repetitions"]} repetitions that take turns in one run, by',
        '',
        '```bash',
        'python tools/benchmarks/metrics.py --out outputs/metrics',
        '```',
    ]
    titles = dict(
        everything="every metric, by action and by subject, with sequences, through MMEngine's `Evaluator`",
        against_mmpose="`compute_metrics` against MMPose's `MPJPE`, by action and overall, the same data samples",
    )
    for name, title in titles.items():
        lines += ['', f'| {title} | |', '| --- | ---: |']
        lines += [f'| {key} | {to_text(key, value)} |' for key, value in results[name].items()]
    return '\n'.join(lines) + '\n'


def to_text(key: str, value: float) -> str:
    if key.endswith('ratio'):
        return f'**{value:,.1f}×**'
    return f'{value:.1e}' if key.endswith('relative') else f'{value:,.2f}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--poses', type=int, help='poses to evaluate; default: 200,000, with --small 2,000')
    parser.add_argument('--repeats', type=int, help='repetitions; default: 3, with --small 1')
    parser.add_argument('--small', action='store_true', help='sizes for a quick look; ratios are then rougher')
    parser.add_argument('--out', help='folder for metrics.md and metrics.json')
    args = parser.parse_args()
    for name in ('poses', 'repeats'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name} is {getattr(args, name)}; takes a positive number')
    num = args.poses or (2_000 if args.small else 200_000)

    from rich.console import Console
    from rich.table import Table

    results = run_benchmark(num, args.repeats or (1 if args.small else 3))
    for name in ('everything', 'against_mmpose'):
        table = Table(title=f'{name} ({num:,} poses, {results["setting"]["threads"]} threads)', title_justify='left')
        table.add_column('figure')
        table.add_column('value', justify='right')
        for key, value in results[name].items():
            table.add_row(key, to_text(key, value).strip('*'))
        Console().print(table)
    if args.out:
        folder = Path(args.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'metrics.json').write_text(json.dumps(results, indent=2) + '\n', encoding='utf-8')
        (folder / 'metrics.md').write_text(to_markdown(results), encoding='utf-8')


if __name__ == '__main__':
    main()
