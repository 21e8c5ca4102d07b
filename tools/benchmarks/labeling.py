# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The label generator as a whole: its speed and memory, against the original release's scripts, and its true errors.

Annotations are made from motion capture, so that the truth is known, and labelled by tools/generate_wild3d.py. The
release's scripts are done again on a few of the same people. Errors are measured stage by stage for each kind of 2D.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = ('true', 'prior')
SUBJECTS = {'all': 'all', 'train': 'those of its training', 'test': 'those held aside from its training'}
# Seconds between two looks at the memory.
_INTERVAL = 0.5
_BATCH = 4096


def run_measured(command: Sequence[str]) -> dict:
    """Run a command: seconds, and the peak of the memory of all its processes (PSS: what they share counts once)."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    start, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=Path.cwd()
        )
        try:
            while process.poll() is None:
                peak = max(peak, sum(map(proportional_bytes, process_tree(process.pid))))
                try:
                    process.wait(_INTERVAL)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
        seconds = time.perf_counter() - start
        log.seek(0)
        output = log.read().decode(errors='replace')
    if process.returncode:
        raise ValueError(f'{shlex.join(command)}: exit status {process.returncode}: {output[-2000:]}')
    return dict(seconds=seconds, peak_bytes=peak)


def process_tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children = {}
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            parent = int(path.read_text(errors='replace').rpartition(')')[2].split()[1])
        except (OSError, IndexError):
            continue  # it has ended
        children.setdefault(parent, []).append(int(path.parent.name))
    tree, todo = [], [root]
    while todo:
        tree.append(todo.pop())
        todo += children.get(tree[-1], ())
    return tree


def proportional_bytes(process: int) -> int:
    """Proportional set size of a process; 0 where it has ended."""
    try:
        lines = Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith('Pss:'))


def bench_factory(args: argparse.Namespace, folder: Path) -> dict:
    """Label annotations by the command, and compare the finished set with the truth."""
    annotations, truth, out = folder / 'people.json', folder / 'truth.npz', folder / 'set'
    if out.exists():
        raise ValueError(f'{out}: is there already, and nothing would be left to measure')
    made = run_measured(
        [
            str(ROOT / 'tools/dataset_converters/mocap2coco.py'), args.bodies_file, '--noise', args.noise,
            '--out', str(annotations), '--truth', str(truth), '--num', str(args.num), '--seed', str(args.seed),
            '--split', args.split,
        ]
    )  # fmt: skip
    labelled = run_measured(
        [
            str(ROOT / 'tools/generate_wild3d.py'), str(annotations), '--out', str(out),
            '--workers', str(args.workers), '--engine', args.engine,
        ]
    )  # fmt: skip
    manifest = json.loads((out / 'manifest.json').read_text(encoding='utf-8'))
    kept, rejected = sum(manifest['labels'].values()), sum(manifest['rejects'].values())
    if kept + rejected != manifest['people']:
        raise ValueError(f'{out}: {kept} labels and {rejected} rejects of {manifest["people"]} people')
    return dict(
        people=args.num,
        different_poses=different_poses(truth),
        noise=args.noise,
        workers=args.workers,
        engine=args.engine,
        annotations=made,
        labelling=labelled,
        records_per_second=args.num / labelled['seconds'],
        set_bytes=sum(path.stat().st_size for path in out.rglob('*') if path.is_file()),
        labels=manifest['labels'],
        rejects=manifest['rejects'],
        annotation_bytes=annotations.stat().st_size,
        errors=errors_of_set(out, truth),
    )


def different_poses(truth_file: Path) -> int:
    """How many recorded poses the people of a truth are in."""
    import numpy as np

    with np.load(truth_file) as truth:
        return len(np.unique(truth['frame']))


def errors_of_set(out: Path, truth_file: Path) -> dict:
    """True errors of all labels of a finished set."""
    import numpy as np
    import pyarrow.parquet as pq

    with np.load(truth_file) as truth:
        ids, joints = truth['id'], truth['joints']
    names, poses = [], []
    for path in sorted(out.glob('wild3d-*.parquet')):
        table = pq.read_table(path, columns=['source_record', 'keypoints_3d'])
        names.append(np.array(table['source_record'].to_pylist(), np.int64))
        values = table['keypoints_3d'].combine_chunks().flatten().to_numpy()
        poses.append(values.reshape(len(table), 17, 4)[..., :3])
    names, poses = np.concatenate(names), np.concatenate(poses)
    if len(np.unique(names)) != len(names):
        raise ValueError(f'{out}: a person was labelled twice')
    return mean_errors(poses, joints[np.searchsorted(ids, names)])


def mean_errors(poses, target) -> dict:
    """Means over poses, mm, of ``(N, 17, 3)`` metres; None where there are no poses."""
    if not len(poses):
        return {'labels': 0, 'MPJPE': None, 'P-MPJPE': None}
    each = pose_errors(poses, target)
    return {'labels': len(poses), **{name: float(values.mean()) for name, values in each.items()}}


def pose_errors(poses, target) -> dict:
    """``(N,)`` mm each, relative to the root."""
    import torch

    from stereopose_mm.geometry import mpjpe, p_mpjpe, root_relative

    found, true = (root_relative(torch.as_tensor(p).double()) for p in (poses, target))
    return {'MPJPE': 1000 * mpjpe(found, true).numpy(), 'P-MPJPE': 1000 * p_mpjpe(found, true).numpy()}


def bench_accuracy(args: argparse.Namespace, folder: Path) -> dict:
    """True errors of labels after each stage, by kind of 2D and by camera."""
    from stereopose_mm.labeling import LabelConfig, load_labellers
    from stereopose_mm.labeling.mocap_annotations import NOISES, write_mocap_annotations

    config = LabelConfig()
    labeller = load_labellers(config, ['coco'])['coco']
    results = dict(fov_deg=config.camera.fov_deg, kinds={})
    for noise in NOISES:
        files = folder / f'{noise}.json', folder / f'{noise}.npz'
        # Another seed than that of the people above.
        made = write_mocap_annotations(
            args.bodies_file, *files, args.num_accuracy, noise, args.seed + 1, args.split
        )  # fmt: skip
        cameras = {camera: stage_errors(*files, camera, config, labeller) for camera in CAMERAS}
        results['kinds'][noise] = dict(people=made.people, different_poses=made.poses, cameras=cameras)
    return results


def stage_errors(annotations: Path, truth_file: Path, told: str, config, labeller) -> dict:
    """Means after each stage, of all people who could be lifted, or of those kept."""
    import numpy as np

    from stereopose_mm.labeling import read_annotations
    from stereopose_mm.labeling.cameras import find_cameras
    from stereopose_mm.labeling.pipeline import judge

    with np.load(truth_file) as loaded:
        truth = {name: loaded[name] for name in ('id', 'joints', 'camera')}
    found, targets, kept = {stage: [] for stage in ('network', 'search', 'refined')}, [], []
    for batch in read_annotations(annotations, batch_size=_BATCH):
        batch = batch.select(batch.problem == '')
        rows = np.searchsorted(truth['id'], batch.record.astype(np.int64))
        camera = true_cameras(truth['camera'][rows])
        if told == 'prior':
            camera = find_cameras(batch, config.camera).camera
        judged = judge(batch, camera, config, labeller)
        good = judged.lifted.valid
        found['network'].append(network_poses(labeller.lifter, batch, camera, config.min_score)[good])
        found['search'].append(judged.lifted.keypoints_cam[good])
        found['refined'].append(judged.refined.keypoints_cam[good])
        targets.append(truth['joints'][rows][good])
        kept.append(judged.judgement.reason[good] == '')
    target, kept = np.concatenate(targets), np.concatenate(kept)
    poses = {stage: np.concatenate(parts) for stage, parts in found.items()}
    stages = {stage: mean_errors(values, target) for stage, values in poses.items()}
    stages['kept'] = mean_errors(poses['refined'][kept], target[kept])
    return stages


def true_cameras(values):
    """Cameras of ``(N, 6)`` fx, fy, cx, cy, width, height."""
    import torch

    from stereopose_mm.geometry import Camera

    return Camera(*torch.from_numpy(values).double().T)


def network_poses(lifter, people, camera, min_score: float):
    """What the networks alone give: ``(N, 17, 3)`` metres relative to the root, before the search."""
    import torch

    codec = lifter.head.decoder
    points, scores = torch.from_numpy(people.keypoints), torch.from_numpy(people.scores)
    with torch.inference_mode():
        encoded = codec.encode_batch(points, torch.where(scores >= min_score, scores, 0.0), camera)
        pose, _ = lifter.head.forward_uncertain(lifter.backbone(encoded['inputs'].float()[..., None]))
        return codec.decode_batch(pose.to(points), encoded['view_rotation'])[:, :17].numpy()


def bench_release(args: argparse.Namespace, folder: Path) -> dict:
    """The release's three scripts on a few people, done again in their way; seconds a pose by script.

    They are chained by NPY files, one for each action. Poses are read into a list, centred and standardised one by one,
    joint by joint; two networks of two blocks, 1024 wide, without batch normalisation (their flags' defaults, in torch
    where they have TensorFlow), take all poses of a file at once; the search goes through 4,400 depths.
    """
    import numpy as np
    import torch
    from speed import release_grid_scan

    torch.set_num_threads(1)
    num, rng = args.num_release, np.random.default_rng(args.seed)
    with np.load(folder / 'truth.npz') as truth:
        joints = truth['joints'][:num].astype(np.float64)
    # The scripts know one camera; people are moved to where it sees them between the depths searched.
    joints += (rng.uniform(3.3, 6.7, num)[:, None] * [0, 0, 1] - joints[:, 0])[:, None]
    pixels = 1145.0 * joints[..., :2] / joints[..., 2:]
    names = dict(left='left.npy', right='right.npy', pose='pose.npy', searched='searched.npy')
    paths = {key: folder / name for key, name in names.items()}
    np.save(paths['left'], pixels.reshape(num, 34))
    synthesis, reconstruction = plain_network(34, 34), plain_network(68, 51)
    seconds = {}

    def script(name: str, work) -> None:
        start = time.perf_counter()
        work()
        seconds[name] = (time.perf_counter() - start) / num

    def right_views() -> None:
        left, mean, deviation = standardised(centred(load_list(paths['left']), 2))
        np.save(paths['right'], forward(synthesis, left) * deviation + mean)

    def poses() -> None:
        both = [
            [*left, *right]
            for left, right in zip(
                centred(load_list(paths['left']), 2), centred(load_list(paths['right']), 2), strict=True
            )
        ]
        inputs, _, _ = standardised(both)
        # Untrained weights: the time is that of any. The search is given poses that are near the truth.
        forward(reconstruction, inputs)
        near = 1000 * (joints - joints[:, :1] + 0.05 * rng.standard_normal(joints.shape))
        near[:, 0] = 0
        np.save(paths['pose'], near.reshape(num, 51))

    def search() -> None:
        placed = []
        for flat, left in zip(load_list(paths['pose']), load_list(paths['left']), strict=True):
            pose, rays = flat.reshape(17, 3), left.reshape(17, 2) / 1145.0
            depth = pose[:, 2] + release_grid_scan(pose, rays)
            placed.append(np.concatenate([rays * depth[:, None], depth[:, None]], 1))
        np.save(paths['searched'], placed)

    script('right view', right_views)
    script('3D pose', poses)
    script('search', search)
    off = np.abs(np.load(paths['searched'])[:, 0, 2] / 1000 - joints[:, 0, 2])
    return dict(
        poses=num,
        seconds_by_script=seconds,
        poses_per_second=1 / sum(seconds.values()),
        median_root_error_m=float(np.median(off)),
    )


def plain_network(inputs: int, outputs: int, width: int = 1024):
    """Stem and two blocks of two layers, with ReLU, and an output layer."""
    from torch import nn

    sizes = [inputs, *[width] * 5]
    layers = [layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, outputs)).eval()


def load_list(path: Path) -> list:
    """Poses of a file, one after the other into a list."""
    import numpy as np

    array, poses = np.load(path), []
    for i in range(array.shape[0]):
        poses.append(array[i][0 : array.shape[1]])
    return poses


def centred(poses: list, dim: int) -> list:
    """Coordinates less those of the root, number by number."""
    for pose in poses:
        root = [pose[k] for k in range(dim)]
        for joint in range(17):
            for k in range(dim):
                pose[joint * dim + k] -= root[k]
    return poses


def standardised(poses: list):
    """Poses less their mean by their deviation, one by one, and these."""
    import numpy as np

    mean, deviation = np.mean(poses, axis=0), np.std(poses, axis=0)
    out = np.zeros((len(poses), len(mean)))
    for i in range(len(poses)):
        # The root has none.
        out[i, :] = np.true_divide(poses[i] - mean, np.where(deviation > 0, deviation, 1))
    return out, mean, deviation


def forward(network, inputs):
    """A network's answer to all poses of a file."""
    import torch

    with torch.no_grad():
        return network(torch.from_numpy(inputs).float()).numpy()


def page(results: dict) -> str:
    """The results as Markdown."""
    lines = [
        '# The label generator', '', 'By', '', '```text', results['command'], '```', '',
        f'on {results["cores"]} cores. Annotations are made from motion capture, so that the truth is known: recorded '
        'poses of bodies before cameras drawn at random, with the errors that [annotators and '
        f'detectors](label_quality.md) make. Subjects of the shipped lifter: {SUBJECTS[results["split"]]}.',
        *factory_lines(results['factory']),
        *release_lines(results),
        *accuracy_lines(results['accuracy']),
    ]  # fmt: skip
    return '\n'.join(lines) + '\n'


def factory_lines(factory: dict) -> list[str]:
    labelling, made = factory['labelling'], factory['annotations']
    labels, rejects = factory['labels'], sorted(factory['rejects'].items(), key=lambda pair: -pair[1])
    return [
        '', '## Speed and memory', '', '| | |', '| --- | ---: |',
        f'| annotations, COCO format (2D: {factory["noise"]}) | {factory["people"]:,} |',
        f'| different poses, before other cameras where they repeat | {factory["different_poses"]:,} |',
        f'| made by one process in | {made["seconds"]:,.0f} s |',
        f'| its peak memory | {made["peak_bytes"] / 1e9:.2f} GB |',
        f'| size | {factory["annotation_bytes"] / 1e6:,.1f} MB |',
        f'| labelled by {factory["workers"]} processes ({factory["engine"]} engine) in | '
        f'**{labelling["seconds"]:,.0f} s** |',
        f'| records a second, start included | **{factory["records_per_second"]:,.0f}** |',
        f'| peak memory of all processes (PSS) | **{labelling["peak_bytes"] / 1e9:.2f} GB** |',
        f'| size of the set | {factory["set_bytes"] / 1e6:,.1f} MB |',
        f'| labels kept | {sum(labels.values()):,} |',
        *(f'| … for {split} | {count:,} |' for split, count in labels.items()),
        f'| their true MPJPE / P-MPJPE, mm | {errors(factory["errors"])} |',
        '', '| rejected because | records |', '| --- | ---: |',
        *(f'| {reason} | {count:,} |' for reason, count in rejects),
    ]  # fmt: skip


def release_lines(results: dict) -> list[str]:
    factory, release = results['factory'], results['release']
    return [
        '', "## Against the original release's scripts", '',
        f'The scripts, done again in their way on {release["poses"]} of the people, one process, one thread: NPY files '
        'read into lists and standardised pose by pose, two networks 1024 wide that take a file at once (torch in '
        "TensorFlow's place), the search through 4,400 depths joint by joint.",
        '', '| | |', '| --- | ---: |',
        *(f'| {name}, ms a pose | {1000 * s:,.2f} |' for name, s in release['seconds_by_script'].items()),
        f'| poses a second | {release["poses_per_second"]:.2f} |',
        f'| the generator, records a second | {factory["records_per_second"]:,.0f} |',
        f'| ratio | **{results["ratio"]:,.0f}×** |',
        f'| ratio, for each process of the generator | {results["ratio"] / factory["workers"]:,.0f}× |',
        '', 'The generator does more for each record: it refines, scores from further passes, gates and checks.',
    ]  # fmt: skip


def accuracy_lines(accuracy: dict) -> list[str]:
    first = accuracy['kinds']['none']
    titles = dict(true='true', prior=f'prior, {accuracy["fov_deg"]:g}°')
    lines = [
        '', '## True accuracy, stage by stage', '',
        'Mean MPJPE / P-MPJPE in mm, relative to the root, of the N people who could be lifted; in the last column of '
        f'those kept. {first["people"]:,} people of each kind in {first["different_poses"]:,} or so different poses: '
        'where poses repeat, cameras differ. COCO does not tell cameras: they are the true ones in one row, '
        "and the generator's prior in the next. The search moves joints onto the rays of the keypoints, whose errors "
        'they then share.',
        '', '| 2D | camera | N | before the search | after it | refined | kept | of those kept |',
        '| --- | --- |' + ' ---: |' * 6,
    ]  # fmt: skip
    for noise, told in accuracy['kinds'].items():
        for camera, stages in told['cameras'].items():
            num, kept = stages['refined']['labels'], stages['kept']['labels']
            cells = [errors(stages[stage]) for stage in ('network', 'search', 'refined', 'kept')]
            cells.insert(3, f'{100 * kept / max(num, 1):.0f} %')
            lines.append(f'| {" | ".join([noise, titles[camera], f"{num:,}", *cells])} |')
    return lines


def errors(told: dict) -> str:
    return f'{told["MPJPE"]:.1f} / {told["P-MPJPE"]:.1f}' if told['labels'] else 'none'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, help='page, FILE.md; FILE.json goes beside it')
    parser.add_argument('--num', type=int, help='people to label (default: 400000)')
    parser.add_argument('--num-accuracy', type=int, help='people of each kind to measure errors of (default: 20000)')
    parser.add_argument('--num-release', type=int, help="people for the release's scripts (default: 30)")
    parser.add_argument('--small', action='store_true', help='400, 200 and 2 people instead, for a quick look')
    parser.add_argument('--noise', default='mixed', help='2D of the people to label (default: %(default)s)')
    parser.add_argument('--split', default='test', choices=tuple(SUBJECTS), help='subjects (default: %(default)s)')
    parser.add_argument('--engine', default='local', choices=('local', 'ray'), help='default: %(default)s')
    parser.add_argument('--workers', type=int, default=2, help='processes (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--bodies-file', default='data/mocap/bodies.npz', help='(default: %(default)s)')
    parser.add_argument('--work', help='folder to keep annotations, truth and set in (default: a temporary one)')
    args = parser.parse_args()
    if not args.out.endswith('.md'):
        parser.error(f'--out is {args.out}; takes a file name that ends in .md')
    if not Path(args.bodies_file).is_file():
        parser.error(f'{args.bodies_file}: no such file; make it with tools/dataset_converters/mocap2bodies.py')
    for name, full, small in (('num', 400_000, 400), ('num_accuracy', 20_000, 200), ('num_release', 30, 2)):
        if getattr(args, name) is None:
            setattr(args, name, small if args.small else full)
        if getattr(args, name) < 2:
            parser.error(f'--{name.replace("_", "-")} takes 2 or more')
    return args


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """All figures."""
    factory = bench_factory(args, folder)
    release = bench_release(args, folder)
    return dict(
        command=shlex.join(['python', 'tools/benchmarks/labeling.py', *sys.argv[1:]]),
        cores=len(os.sched_getaffinity(0)),
        split=args.split,
        factory=factory,
        release=release,
        ratio=factory['records_per_second'] / release['poses_per_second'],
        accuracy=bench_accuracy(args, folder),
    )


def main() -> int:
    args = parse_args()
    from stereopose_mm.files import whole_file

    out = Path(args.out)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(args.work or temporary)
            work.mkdir(parents=True, exist_ok=True)
            results = measure(args, work)
        out.parent.mkdir(parents=True, exist_ok=True)
        for suffix, text in {'.json': json.dumps(results, indent=1) + '\n', '.md': page(results)}.items():
            with whole_file(out.with_suffix(suffix)) as file:
                file.write_text(text, encoding='utf-8')
    except (ValueError, OSError) as error:
        print(f'labeling: error: {error}', file=sys.stderr)
        return 2
    factory = results['factory']
    print(
        f'{factory["people"]} people in {factory["labelling"]["seconds"]:.0f} s, '
        f"{factory['labelling']['peak_bytes'] / 1e9:.2f} GB; {results['ratio']:,.0f} times the release's scripts"
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
