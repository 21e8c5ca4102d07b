# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Speed of clips: all but the 2D networks, and against MMPose's body3d_pose_lifter_demo.py given the same 2D results.

The clip is the shipped example, 1280 x 720, with five people (two of its three twice), played to and fro. MMPose's
script runs unchanged, with SimpleBaseline3D as its lifter (random weights: they cost no other time); its detector and
2D estimator are replaced by functions that hand out the clip's keypoints at once.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

SIZE = (1280, 720)
FRAME_RATE = 25.0
# Of the page: windows, most frames, and how long it plays before it is measured and while it is, seconds.
WINDOWS = ((1280, 800), (1600, 1000))
PAGE_FRAMES, PAGE_START, PAGE_SECONDS = 300, 2.5, 8.0
LIFTER_CONFIG = 'image-pose-lift_tcn_8xb64-200e_h36m.py'
MODELS_2D = ('rtmdet_nano_320-8xb32_coco-person.py', 'rtmpose-t_8xb256-420e_coco-256x192.py')


def make_clip(folder: Path, num_frames: int):
    """Write ``clip.mp4`` and ``keypoints.npz``.

    Returns:
        The keypoint file, read.
    """
    import cv2
    import numpy as np

    import stereopose_mm
    from stereopose_mm.apis import open_frames, read_keypoints
    from stereopose_mm.visualization import VideoWriter

    example = Path(stereopose_mm.__file__).parent / 'assets/example'
    known = read_keypoints(example / 'clip_keypoints.json')
    with open_frames(example / 'clip.mp4') as frames:
        scale = SIZE[0] / frames.width
        full = [frame for frame in frames if len(known.people(frame.number)) == 3]
    images = [cv2.resize(frame.image, SIZE) for frame in full]
    keypoints, scores, frame_of = [], [], []
    with VideoWriter(folder / 'clip.mp4', *SIZE, frame_rate=FRAME_RATE) as video:
        for number in range(num_frames):
            turn = number % (2 * len(images) - 2)
            source = turn if turn < len(images) else 2 * len(images) - 2 - turn
            video.write(images[source])
            people = known.people(full[source].number)
            for copy, shift in ((0, 0.0), (1, 0.0), (2, 0.0), (0, 70.0), (1, -90.0)):
                keypoints.append(people.keypoints[copy] * scale + np.float32([shift, 0]))
                scores.append(people.scores[copy])
                frame_of.append(number)
    np.savez(folder / 'keypoints.npz', keypoints=np.stack(keypoints), scores=np.stack(scores), frame=np.array(frame_of))
    return read_keypoints(folder / 'keypoints.npz')


def time_ours(folder: Path, save: tuple[str, ...], num_frames: int) -> float:
    """Seconds of a job on the clip's first frames."""
    from stereopose_mm.apis import lift_clip

    out = folder / 'ours'
    shutil.rmtree(out, ignore_errors=True)
    begin = time.perf_counter()
    lift_clip(folder / 'clip.mp4', out, keypoints=folder / 'keypoints.npz', fov=55.0, save=save, max_frames=num_frames)
    return time.perf_counter() - begin


def rate_of_ours(folder: Path, save: tuple[str, ...], num_frames: int) -> float:
    """Frames a second from the first frame on: the time of a short clip, loading included, is taken off."""
    few = num_frames // 6
    begin = time_ours(folder, save, few)
    return (num_frames - few) / (time_ours(folder, save, num_frames) - begin)


def time_drawing(folder: Path) -> tuple[float, float]:
    """Seconds of drawing alone, and of drawing and encoding, of poses and images that are there."""
    import cv2
    import numpy as np

    from stereopose_mm.apis import open_frames
    from stereopose_mm.apis.clips.stages import ENCODING
    from stereopose_mm.geometry import PoseSequence
    from stereopose_mm.visualization import ClipPainter, SceneBounds, VideoWriter, root_trails

    cv2.setNumThreads(1)
    with np.load(folder / 'ours/poses3d.npz', allow_pickle=False) as file:
        clip = PoseSequence.from_arrays(file)
    painter = ClipPainter(SceneBounds.of_clip(clip), SIZE, clip.skeleton, 'clip')
    with open_frames(folder / 'clip.mp4') as source:
        images = [frame.image for frame in source][:100]
    parts = [(clip.select_frames(slice(i, i + 1)), root_trails(clip, i)) for i in range(len(images))]
    times = clip.frame_times

    def draw(index):
        return painter.draw(images[index % 100], parts[index % 100][0], times[index % 100], parts[index % 100][1])

    draw(0)
    begin = time.perf_counter()
    for index in range(clip.num_frames):
        draw(index)
    drawing = time.perf_counter() - begin
    begin = time.perf_counter()
    with VideoWriter(folder / 'drawn.mp4', *SIZE, frame_rate=FRAME_RATE, **ENCODING) as video:
        for index in range(clip.num_frames):
            video.write(draw(index))
    return drawing, time.perf_counter() - begin


def time_page(folder: Path, num_frames: int) -> dict[str, float]:
    """Pictures a second of the HTML page while it plays, by the size of its window; empty without a Chromium."""
    from stereopose_mm.visualization.viewer_browser import find_chromium, open_chromium, open_page

    if find_chromium() is None:
        return {}
    time_ours(folder, ('html',), num_frames)
    rates = {}
    with open_chromium() as browser:
        for size in WINDOWS:
            page = open_page(browser, folder / 'ours/viewer.html', size)
            page.evaluate('stereopose.play()')
            page.wait_for_timeout(1000 * PAGE_START)
            page.evaluate('stereopose.resetStatistics()')
            page.wait_for_timeout(1000 * PAGE_SECONDS)
            rates[f'page, {size[0]} × {size[1]}'] = page.evaluate('stereopose.statistics().framesPerSecond')
            page.close()
    return rates


class MMPoseDemo:
    """MMPose's script, with the clip's keypoints in place of its 2D models' results.

    Args:
        folder: Of the clip; checkpoints and results go there.
        people: The clip's keypoint file.
    """

    def __init__(self, folder: Path, people):
        import mmpose

        self.folder, self.people = folder, people
        self.mim = Path(mmpose.__file__).parent / '.mim'
        spec = importlib.util.spec_from_file_location('demo', self.mim / 'demo/body3d_pose_lifter_demo.py')
        self.script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.script)
        self.script.inference_detector = self._detect
        self.script.inference_topdown = self._estimate
        self.script.init_detector = self._loaded(self.script.init_detector)
        self.script.init_model = self._loaded(self.script.init_model)
        (detector,), (estimator,) = (list(self.mim.rglob(name)) for name in MODELS_2D)
        (lifter,) = self.mim.rglob(LIFTER_CONFIG)
        self.models = [detector, self._checkpoint(detector, 'mmdet'), estimator, self._checkpoint(estimator, 'mmpose')]
        self.models += [lifter, self._checkpoint(lifter, 'mmpose')]

    def _checkpoint(self, config: Path, scope: str) -> Path:
        """Random weights of a config."""
        import torch
        from mmdet.apis import init_detector
        from mmpose.apis import init_model

        path = self.folder / f'{config.stem}.pth'
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            if scope == 'mmdet':
                model, meta = init_detector(str(config), None, palette='coco', device='cpu'), {'classes': ('person',)}
            else:
                model = init_model(str(config), None, device='cpu')
                meta = model.dataset_meta
        torch.save({'state_dict': model.state_dict(), 'meta': {'dataset_meta': meta}}, path)
        return path

    @staticmethod
    def _loaded(function):
        # Trusted: written above.
        return lambda config, checkpoint, device: function(str(config), str(checkpoint), device=device)

    def _detect(self, model, image):
        import numpy as np
        import torch
        from mmdet.structures import DetDataSample
        from mmengine.structures import InstanceData

        found = self.people.people(self.number)
        sample = DetDataSample()
        sample.pred_instances = InstanceData(
            bboxes=torch.from_numpy(found.bboxes),
            scores=torch.ones(len(found)),
            labels=torch.from_numpy(np.zeros(len(found), np.int64)),
        )
        return sample

    def _estimate(self, model, image, boxes):
        from mmengine.structures import InstanceData
        from mmpose.structures import PoseDataSample

        found = self.people.people(self.number)
        self.number += 1
        samples = []
        for row in range(len(found)):
            sample = PoseDataSample()
            sample.pred_instances = InstanceData(
                keypoints=found.keypoints[row : row + 1],
                keypoint_scores=found.scores[row : row + 1],
                bboxes=found.bboxes[row : row + 1],
                bbox_scores=found.bbox_scores[row : row + 1],
            )
            sample.gt_instances = InstanceData()
            samples.append(sample)
        return samples

    def time(self, draws: bool) -> float:
        """Seconds of the script on the clip, from the first frame on; its drawing may be left out."""
        self.number, self.lifting, begin = 0, 0.0, []
        process = type(self).process

        def timed(**arguments):
            begin.append(time.perf_counter())
            return process(self, draws, **arguments)

        self.plain = self.script.process_one_image
        self.script.process_one_image = timed
        arguments = [*self.models, '--input', self.folder / 'clip.mp4', '--output-root', self.folder / 'mmpose']
        before, sys.argv = (
            sys.argv,
            ['demo', *map(str, arguments), '--save-predictions', '--device', 'cpu'],
        )
        try:
            self.script.main()
        finally:
            sys.argv, self.script.process_one_image = before, self.plain
        return time.perf_counter() - begin[0]

    def process(self, draws: bool, visualizer, **arguments):
        """MMPose's own function, with or without its visualizer."""
        if not draws:
            visualizer.set_image(arguments['visualize_frame'])  # what the script then writes
            visualizer = None
        begin = time.perf_counter()
        result = self.plain(visualizer=visualizer, **arguments)
        self.lifting += time.perf_counter() - begin
        return result


def measure(num_frames: int, num_slow: int) -> dict:
    """Time everything; the slow demo on fewer frames."""
    rates = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people = make_clip(folder, num_frames)
        rates['people a frame'] = people.num_people / num_frames
        time_ours(folder, ('npz',), num_frames)  # warm
        rates['ours, JSON and NPZ'] = rate_of_ours(folder, ('json', 'npz'), num_frames)
        drawing, both = time_drawing(folder)
        rates['drawing'] = num_frames / drawing
        rates['drawing and encoding'] = num_frames / both
        rates['ours, video and JSON'] = rate_of_ours(folder, ('video', 'json'), num_frames)
        rates |= time_page(folder, min(num_frames, PAGE_FRAMES))
        slow = folder / 'slow'
        slow.mkdir()
        demo = MMPoseDemo(slow, make_clip(slow, num_slow))
        rates['MMPose, video and JSON'] = num_slow / demo.time(draws=True)
        rates['MMPose, JSON and the plain video'] = num_slow / demo.time(draws=False)
        rates['MMPose, tracking and lifting alone'] = num_slow / demo.lifting
    rates['ratio, video and JSON'] = rates['ours, video and JSON'] / rates['MMPose, video and JSON']
    rates['ratio, JSON'] = rates['ours, JSON and NPZ'] / rates['MMPose, JSON and the plain video']
    rates['ratio, JSON, of theirs only tracking and lifting'] = (
        rates['ours, JSON and NPZ'] / rates['MMPose, tracking and lifting alone']
    )
    return rates


def to_markdown(result: dict) -> str:
    """The page."""
    lines = [
        '# Speed of clips',
        '',
        f'1280 × 720 frames, {result["rates"]["people a frame"]:.1f} people on each, 2D results given; '
        f'{result["frames"]} frames ({result["slow_frames"]} for MMPose), {result["cores"]} cores of a '
        f'{result["processor"]}; one run. By',
        '',
        '```bash',
        'python tools/benchmarks/clips.py --out outputs/clips',
        '```',
        '',
        "MMPose's is its own `body3d_pose_lifter_demo.py`, unchanged, with SimpleBaseline3D; it draws one of the five "
        'people in 3D, its default (more crash it at this size). Ours is `lift_clip`: tracking, lifting, constant bone '
        'lengths, and writing; all five are drawn. Both from the first frame on, loading left out. The page is the '
        f"HTML viewer's, of at most {PAGE_FRAMES} frames, playing in a Chromium without a graphics card.",
        '',
        '| frames/s | |',
        '| --- | ---: |',
    ]
    lines += [f'| {name} | {value:,.1f} |' for name, value in result['rates'].items() if name != 'people a frame']
    return '\n'.join(lines) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=600, help='(default: %(default)s)')
    parser.add_argument('--slow-frames', type=int, default=60, help="for MMPose's script (default: %(default)s)")
    parser.add_argument('--small', action='store_true', help='12 frames, to see that it runs')
    parser.add_argument('--out', default='outputs/clips', help='page and JSON, without suffix (default: %(default)s)')
    args = parser.parse_args()
    frames, slow = (12, 3) if args.small else (args.frames, args.slow_frames)
    import stereopose_mm  # noqa: F401, before what it makes importable

    result = {
        'frames': frames,
        'slow_frames': slow,
        'cores': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
        'processor': platform.machine() + ' processor',
        'rates': measure(frames, slow),
    }
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix('.json').write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    out.with_suffix('.md').write_text(to_markdown(result), encoding='utf-8')
    print(to_markdown(result))


if __name__ == '__main__':
    main()
