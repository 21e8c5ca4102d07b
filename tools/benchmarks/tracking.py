# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Trackers on people whose ways cross: identity switches, IDF1 and frames a second.

Clips are made from motion capture: recorded people cross the view of one camera, and a person whose box is covered to
more than 70 % by nearer ones is not detected. 2D keypoints have the errors measured on a real detector, boxes are off
by some per cent, and one person in twenty is missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FRAME_RATE = 25
IMAGE_SIZE = (1280, 720)
COVERED, MISSED, BOX_NOISE = 0.7, 0.05, 0.03
# Clips of people who go somewhere: metres between the furthest places.
LEAST_WAY = 1.5
STEPS = (1, 5)


@dataclass
class Clip:
    """F frames: lists of :class:`People2D` and of ``(n,)`` true numbers."""

    frames: list
    truth: list


def ways(path: str, length: int) -> list:
    """Recorded people who cover some ground: ``(length, 17, 3)`` metres each, y up, at the frame rate."""
    import numpy as np

    from stereopose_mm.datasets.mocap_dataset import load_mocap

    clips = load_mocap(path)
    found = []
    for index, rate in enumerate(clips['clip_fps']):
        joints = clips['joints'][clips['clip_index'] == index].astype(np.float64)
        joints[..., [0, 2]] -= joints[:, :1, [0, 2]].mean(0)
        if len(joints) < 2 or np.linalg.norm(np.ptp(joints[:, 0, [0, 2]], axis=0)) < LEAST_WAY:
            continue
        # There and back again, until the clip is long enough.
        times = np.arange(length) * float(rate) / FRAME_RATE
        span = len(joints) - 1
        times = span - np.abs(span - times % (2 * span))
        low = np.minimum(times.astype(int), span - 1)
        share = (times - low)[:, None, None]
        found.append((1 - share) * joints[low] + share * joints[low + 1])
    return found


def make_clip(people: list, seed: int, num_people: int) -> Clip:
    """Let people cross the view of a camera that looks slightly down."""
    import numpy as np
    import torch

    from stereopose_mm.datasets.pair_synthesis import world_to_camera_rotation
    from stereopose_mm.geometry import Camera

    rng = np.random.default_rng(seed)
    camera = Camera.from_fov(60.0, *IMAGE_SIZE)
    pitch = torch.tensor([rng.uniform(0, 0.3)], dtype=torch.float64)
    level = torch.zeros(1, dtype=torch.float64)
    rotation = world_to_camera_rotation(level, pitch, level)[0].numpy()
    joints = []
    for index in rng.choice(len(people), num_people, replace=len(people) < num_people):
        turn = rng.uniform(0, 2 * np.pi)
        body = people[index] @ np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        joints.append(body + [rng.uniform(-1.5, 1.5), -1.6, -rng.uniform(4.5, 8.0)])
    joints = np.stack(joints, 1) @ rotation.T
    return detect(torch.from_numpy(joints), camera, seed)


def detect(joints, camera, seed: int) -> Clip:
    """What a detector makes of ``(F, P, 17, 3)`` metres in the camera frame."""
    import numpy as np
    import torch

    from stereopose_mm.apis.people import People2D
    from stereopose_mm.datasets.detector_noise import MEASURED, imitate_detector

    rng = np.random.default_rng(seed)
    shape = joints.shape[:2]
    exact = camera.project(joints.flatten(0, 1))
    noisy, scores = imitate_detector(exact, MEASURED, torch.Generator().manual_seed(seed))
    exact, noisy, scores = (v.unflatten(0, shape).numpy() for v in (exact, noisy, scores))
    low, high = exact.min(2), exact.max(2)
    size = high - low
    margin = 0.1 * size.max(-1, keepdims=True)
    boxes = np.concatenate([low - margin, high + margin], -1)
    boxes += rng.normal(0, BOX_NOISE, boxes.shape) * np.tile(size, 2)
    depth = joints[:, :, 0, 2].numpy()
    frames, truth = [], []
    for f in range(shape[0]):
        hidden = covered(boxes[f], depth[f])
        inside = ((exact[f] >= 0) & (exact[f] < IMAGE_SIZE)).all(-1).mean(-1) > 0.5
        seen = np.flatnonzero(inside & (hidden <= COVERED) & (rng.random(shape[1]) >= MISSED) & (depth[f] > 0.5))
        # Detectors are less sure of people who are half hidden.
        sure = np.clip(0.95 - 0.7 * hidden[seen] + rng.normal(0, 0.05, len(seen)), 0.05, 1.0)
        shuffled = rng.permutation(len(seen))
        seen, sure = seen[shuffled], sure[shuffled]
        frames.append(
            People2D.from_keypoints(noisy[f, seen], scores[f, seen], sure.astype(np.float32), None, boxes[f, seen])
        )
        truth.append(seen)
    return Clip(frames, truth)


def covered(boxes, depth):
    """``(P,)`` share of each box that the nearer person covering it most covers."""
    import numpy as np

    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    share = (high - low).clip(0).prod(-1) / (boxes[:, 2:] - boxes[:, :2]).prod(-1)[:, None]
    return np.where(depth[None] < depth[:, None], share, 0).max(1)


# Trackers: each gives a function from the people of a frame to their (n,) numbers, -1 for those without one.


def own_tracker(step: int) -> Callable:
    from stereopose_mm.apis.tracking import PersonTracker

    return PersonTracker(every=step).update


def mmpose_tracker(step: int, use_oks: bool) -> Callable:
    """MMPose's, as its Pose3DInferencer calls it."""
    import numpy as np
    from mmengine.structures import InstanceData
    from mmpose.apis import _track_by_iou, _track_by_oks
    from mmpose.structures import PoseDataSample

    track = _track_by_oks if use_oks else _track_by_iou
    last, count = [], 0

    def update(people):
        nonlocal last, count
        numbers, samples = [], []
        for row in range(len(people)):
            box = people.bboxes[row : row + 1]
            sample = PoseDataSample(
                pred_instances=InstanceData(
                    keypoints=people.keypoints[row : row + 1],
                    keypoint_scores=people.scores[row : row + 1],
                    bboxes=box,
                    areas=(box[:, 2:] - box[:, :2]).prod(1),
                )
            )
            number, last, _ = track(sample, last, 0.3)
            if number == -1:
                number, count = count, count + 1
            sample.set_field(number, 'track_id')
            samples.append(sample)
            numbers.append(number)
        last = samples
        return np.array(numbers, np.int64)

    return update


def mmdet_tracker(step: int) -> Callable:
    """MMDetection's ByteTrack with the settings of its config for MOT17."""
    import numpy as np
    import torch
    from mmdet.models.trackers import ByteTracker
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    tracker = ByteTracker(
        motion=dict(type='mmdet.KalmanFilter'),
        obj_score_thrs=dict(high=0.6, low=0.1),
        init_track_thr=0.7,
        weight_iou_with_det_scores=True,
        match_iou_thrs=dict(high=0.1, low=0.5, tentative=0.3),
        num_frames_retain=max(1, 30 // step),
    )
    frame = 0

    def update(people):
        nonlocal frame
        sample = DetDataSample(metainfo=dict(frame_id=frame))
        sample.pred_instances = InstanceData(
            bboxes=torch.from_numpy(people.bboxes),
            scores=torch.from_numpy(people.bbox_scores),
            labels=torch.zeros(len(people), dtype=torch.long),
        )
        found = tracker.track(sample)
        frame += 1
        numbers = np.full(len(people), -1, np.int64)
        for box, number in zip(found.bboxes.numpy(), found.instances_id.numpy(), strict=True):
            numbers[(people.bboxes == box).all(1)] = number
        return numbers

    return update


def roboflow_tracker(step: int) -> Callable:
    """ByteTrack of Roboflow's trackers."""
    import numpy as np
    import supervision
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(frame_rate=FRAME_RATE / step, lost_track_buffer=60, minimum_consecutive_frames=1)

    def update(people):
        detections = supervision.Detections(
            xyxy=people.bboxes,
            confidence=people.bbox_scores,
            class_id=np.zeros(len(people), int),
            data=dict(row=np.arange(len(people))),
        )
        found = tracker.update(detections)
        numbers = np.full(len(people), -1, np.int64)
        numbers[found.data['row'].astype(int) if len(found) else []] = found.tracker_id if len(found) else []
        return numbers

    return update


TRACKERS = {
    'PersonTracker': (own_tracker, None),
    "MMPose's by IoU": (lambda step: mmpose_tracker(step, False), None),
    "MMPose's by OKS": (lambda step: mmpose_tracker(step, True), None),
    "MMDetection's ByteTrack": (mmdet_tracker, 'lap'),
    "Roboflow's ByteTrack": (roboflow_tracker, 'trackers'),
}


def measure(clips: list[Clip], make: Callable, step: int) -> dict:
    """Run a tracker over all clips."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    switches = people = without = matched = numbered = frames = 0
    seconds = 0.0
    for clip in clips:
        update = make(step)
        kept = range(0, len(clip.frames), step)
        start = time.process_time()
        found = [update(clip.frames[f]) for f in kept]
        seconds += time.process_time() - start
        frames += len(kept)
        truth, numbers = np.concatenate([clip.truth[f] for f in kept]), np.concatenate(found)
        people += len(truth)
        good = numbers >= 0
        truth, numbers = truth[good], numbers[good]
        without, numbered = without + int((~good).sum()), numbered + len(numbers)
        switches += sum(int((np.diff(numbers[truth == person]) != 0).sum()) for person in np.unique(truth))
        # IDF1 (Ristani et al., 2016): one number for one person, the best way round.
        table = np.zeros((truth.max(initial=0) + 1, numbers.max(initial=0) + 1), int)
        np.add.at(table, (truth, numbers), 1)
        matched += int(table[linear_sum_assignment(table, maximize=True)].sum())
    return dict(
        switches=switches,
        per_thousand=1000 * switches / max(people, 1),
        idf1=2 * matched / max(people + numbered, 1),
        without_number=without / max(people, 1),
        frames_per_second=frames / seconds,
        milliseconds=1000 * seconds / frames,
    )


def run_benchmark(mocap: str, num_clips: int, length: int, num_people: int) -> dict:
    """Run everything; see the module."""
    from mmengine.registry import init_default_scope

    import stereopose_mm

    init_default_scope('mmpose')
    people = ways(mocap, length)
    if not people:
        raise ValueError(f'{mocap}: nobody covers {LEAST_WAY} m in any clip')
    clips = [make_clip(people, seed, num_people) for seed in range(num_clips)]
    installed = {name: make for name, (make, needs) in TRACKERS.items() if not needs or importlib.util.find_spec(needs)}
    rows = {}
    for step in STEPS:
        table = {name: measure(clips, make, step) for name, make in installed.items()}
        own = table['PersonTracker']
        for row in table.values():
            row['switches_ratio'] = row['switches'] / max(own['switches'], 1)
            row['time_ratio'] = row['milliseconds'] / own['milliseconds']
        rows[str(step)] = table
    setting = dict(
        clips=num_clips,
        frames=length,
        people=num_people,
        detections=sum(len(t) for clip in clips for t in clip.truth),
        recordings=len(people),
        machine=platform.machine(),
        stereopose_mm=stereopose_mm.__version__,
    )
    return dict(setting=setting, trackers=rows)


COLUMNS = {
    'identity switches': lambda row: f'{row["switches"]:,}',
    'of ours': lambda row: f'{row["switches_ratio"]:.1f}×',
    'per 1,000 detections': lambda row: f'{row["per_thousand"]:.2f}',
    'IDF1': lambda row: f'{100 * row["idf1"]:.1f} %',
    'without a number': lambda row: f'{100 * row["without_number"]:.1f} %',
    'ms a frame': lambda row: f'{row["milliseconds"]:.2f}',
    'time of ours': lambda row: f'{row["time_ratio"]:.1f}×',
}


def title(step: str) -> str:
    return 'every frame' if step == '1' else f'every {step}th frame'


def to_markdown(results: dict) -> str:
    """Format the results as a page."""
    setting = results['setting']
    lines = [
        '# Trackers',
        '',
        f'{setting["clips"]} clips of {setting["frames"]:,} frames at {FRAME_RATE} frames a second with '
        f'{setting["people"]} people, {setting["detections"]:,} detections in all. The people are '
        f'{setting["recordings"]} recordings of motion capture whose ways cross before one camera; who is covered to '
        f'more than {COVERED:.0%} by somebody nearer is not detected, {MISSED:.0%} of the others are missed, 2D '
        f'keypoints have the errors of a real detector (`MEASURED`), and boxes are off by {BOX_NOISE:.0%}. By',
        '',
        '```bash',
        'python tools/benchmarks/tracking.py --mocap data/mocap/mocap.npz --out outputs/tracking',
        '```',
        '',
        'An identity switch is a person whose number is not the one before. IDF1 is of the people detected, as only '
        'those can get a number. ByteTrack is measured where its packages are installed (`lap` for '
        "MMDetection's; `trackers` for Roboflow's, whose releases ask for numpy 2, which MMPose does not take). "
        "Times are CPU time on one core. PersonTracker's constants were chosen on six other clips, of seeds from 100, "
        "made of the same recordings; the others keep the settings of their packages, but that Roboflow's remembers "
        'for 2 s (ours: 2.4 s) and gives numbers at once.',
    ]
    for step, table in results['trackers'].items():
        lines += ['', f'| {title(step)} | ' + ' | '.join(COLUMNS) + ' |']
        lines += ['| --- |' + ' ---: |' * len(COLUMNS)]
        lines += [f'| {name} | ' + ' | '.join(f(row) for f in COLUMNS.values()) + ' |' for name, row in table.items()]
    return '\n'.join(lines) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--mocap', default='data/mocap/mocap.npz', help='NPZ of tools/dataset_converters/mocap2npz.py')
    parser.add_argument('--clips', type=int, help='clips; default: 20, with --small 2')
    parser.add_argument('--frames', type=int, help='frames of a clip; default: 500, with --small 60')
    parser.add_argument('--people', type=int, default=5, help='people in a clip; default: 5')
    parser.add_argument('--small', action='store_true', help='sizes for a quick look')
    parser.add_argument('--out', help='folder for tracking.md and tracking.json')
    args = parser.parse_args()
    for name in ('clips', 'frames', 'people'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name} is {getattr(args, name)}; takes a positive number')
    if not Path(args.mocap).is_file():
        parser.error(f'{args.mocap}: no such file; make it with tools/dataset_converters/mocap2npz.py')

    from rich.console import Console
    from rich.table import Table

    sizes = args.clips or (2 if args.small else 20), args.frames or (60 if args.small else 500)
    try:
        results = run_benchmark(args.mocap, *sizes, args.people)
    except ValueError as error:
        parser.error(str(error))
    for step, rows in results['trackers'].items():
        table = Table(title=title(step), title_justify='left')
        for name in ('tracker', *COLUMNS):
            table.add_column(name, justify='left' if name == 'tracker' else 'right')
        for name, row in rows.items():
            table.add_row(name, *(f(row) for f in COLUMNS.values()))
        Console().print(table)
    if args.out:
        folder = Path(args.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'tracking.json').write_text(json.dumps(results, indent=2) + '\n', encoding='utf-8')
        (folder / 'tracking.md').write_text(to_markdown(results), encoding='utf-8')


if __name__ == '__main__':
    main()
