# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""MMPose's inferencer for this package's lifters: images and videos in, metric 3D poses out."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.structures import InstanceData
from mmpose.apis.inferencers import Pose3DInferencer
from mmpose.registry import INFERENCERS
from mmpose.structures import PoseDataSample, split_instances

from ..files import whole_file
from ..geometry import DEFAULT_FOV_DEG, Camera, PoseSequence
from .camera_files import check_image_size, read_camera
from .clips.cameras import CameraSource
from .clips.lift import lift_frames
from .frame_source import Frame, check_choice, open_frames
from .lifting import init_lifter
from .pose2d import TopDownEstimator
from .tracking import PersonTracker

Inputs = str | Path | np.ndarray | Sequence[str | Path | np.ndarray]

# Fields of PoseSequence that each person has under their own names.
_SEQUENCE_FIELDS = (
    'keypoints_cam', 'input_keypoints_cam', 'uncertainty', 'reprojection_error', 'search_residual', 'used', 'valid',
    'keypoints_2d',
)  # fmt: skip
_FIELDS = (*_SEQUENCE_FIELDS, 'keypoint_scores_2d', 'root_depth', 'track_id')


@INFERENCERS.register_module(name='stereo-pose-3d')
@INFERENCERS.register_module()
class StereoPoseInferencer(Pose3DInferencer):
    """Finds people on images and videos and lifts them to 3D, in metres, in the camera's frame.

    Built and called as MMPose's :class:`Pose3DInferencer`, whose results it keeps in form and not in frame:

    - 3D is in the camera's frame (x right, y down, z forward). MMPose turns axes and puts the lowest keypoint at 0.
    - Intrinsics are kept whole, and 2D keypoints stay where they were seen: MMPose moves and scales boxes.
    - A frame without people gives no prediction. MMPose takes the whole image for a person.
    - ``batch_size`` frames go through the networks together.

    Example:
        >>> inferencer = StereoPoseInferencer(pose2d_model='rtmpose-m')
        >>> for result in inferencer('street.mp4', fov=60, batch_size=16, out_dir='results'):
        ...     for person in result['predictions'][0]:
        ...         print(person['track_id'], person['root_depth'])

    Args:
        model: Config of a stereo lifter, or its path. Default: the shipped one for the 2D model's keypoints.
        weights: Its checkpoint; see :func:`~stereopose_mm.apis.init_lifter`.
        pose2d_model: Config, path, name or alias of a 2D model; see :class:`TopDownEstimator`. Default: MMPose's
            ``'human'``.
        pose2d_weights: Its checkpoint; ``'none'`` for random weights. Default: those of a named model.
        device: Where to run. Default: the GPU if there is one.
        scope: MMPose's argument; only ``'mmpose'`` has lifters.
        det_model: Detector of people, or ``'whole_image'``. Default: MMPose's.
        det_weights: As ``pose2d_weights``.
        det_cat_ids: The detector's categories that are people. Default: 0.
        show_progress: Whether to show a bar, on stderr.
        camera: The camera of all calls that name none: a :class:`~stereopose_mm.geometry.Camera` or the path of a file.
        fov: Horizontal field of view in degrees instead.
        half: Half precision on a GPU.

    Raises:
        ValueError: If a model or its weights cannot be had, or the lifter does not take the 2D model's keypoints.
    """

    preprocess_kwargs: set = {
        'bboxes', 'bbox_thr', 'nms_thr', 'camera', 'fov', 'tracking', 'every', 'start', 'min_score',
    }  # fmt: skip
    forward_kwargs: set = set()
    visualize_kwargs: set = {'return_vis', 'vis_out_dir'}
    postprocess_kwargs: set = {'pred_out_dir', 'return_datasample'}

    def __init__(
        self,
        model: str | Path | Config | None = None,
        weights: str | Path | None = None,
        pose2d_model: str | Path | Config | None = None,
        pose2d_weights: str | Path | None = None,
        device: str | None = None,
        scope: str | None = 'mmpose',
        det_model: str | Path | Config | None = None,
        det_weights: str | Path | None = None,
        det_cat_ids: int | Sequence[int] | None = None,
        show_progress: bool = False,
        camera: Camera | str | Path | None = None,
        fov: float | None = None,
        half: bool = False,
    ):
        # MMPose's constructor would build its own detector and estimator, one image at a time.
        device = device or get_device()
        self.scope, self.show_progress = scope, show_progress
        self._camera, self._fov = _checked_camera(camera, fov), fov
        self.pose2d_model = TopDownEstimator(
            'human' if pose2d_model is None else pose2d_model,
            pose2d_weights,
            det_model,
            det_weights,
            (0,) if det_cat_ids is None else det_cat_ids,
            device,
            half,
        )
        self.model = init_lifter(model, weights, device, self.pose2d_model.skeleton)
        takes = self.model.head.decoder.keypoint_set
        if takes == 'coco' and self.pose2d_model.skeleton != 'coco':
            raise ValueError(f'model: the lifter takes COCO-17, but pose2d_model finds {self.pose2d_model.skeleton!r}')
        self.cfg = self.model.cfg
        self._video_input = False

    def __call__(
        self,
        inputs: Inputs,
        return_datasamples: bool = False,
        batch_size: int = 1,
        out_dir: str | Path | None = None,
        **kwargs,
    ) -> Iterator[dict[str, Any]]:
        """Run on a source of images; a generator, as MMPose's inferencers.

        Args:
            inputs: Image, folder, video, webcam or stream for :func:`~stereopose_mm.apis.frame_source.open_frames`; a
                ``(H, W, 3)`` uint8 BGR array; or a list of arrays and paths of images.
            return_datasamples: Return :class:`PoseDataSample` instead of lists of dictionaries.
            batch_size: Frames that go through the networks together.
            out_dir: Folder for ``visualizations`` and ``predictions``, unless they have their own.
            **kwargs: ``camera`` and ``fov`` as in the constructor; ``tracking``, whether to number people through
                the frames (default: for videos and streams); ``every`` and ``start`` choose frames of a source;
                ``bbox_thr``, ``nms_thr`` and ``min_score`` as elsewhere; ``bboxes``, people's boxes of each frame
                instead of the detector's; ``return_vis``; ``vis_out_dir``, a folder, or the file for a video;
                ``pred_out_dir``, a folder for JSON: one file an image (a list of people) or video (a list of
                ``frame_id`` and ``instances``).

        Yields:
            For each frame a dictionary. ``predictions``: a list with one list of people, or one data sample, of:
            ``keypoints`` ``(17, 3)`` metres relative to the root, ``keypoint_scores`` ``(17,)``, ``bbox`` and
            ``bbox_score`` as MMPose has them; ``keypoints_2d`` ``(17, 2)`` pixels with ``keypoint_scores_2d``, in the
            set that the lifter takes; ``track_id``, -1 without tracking; ``valid``; and the fields of
            :class:`~stereopose_mm.apis.LiftResult`, None (NaN in a data sample) where a pose could not be lifted.
            ``visualization``: a list with one RGB picture if ``return_vis``, else an empty list.

        Raises:
            ValueError: For input that cannot be used.
        """
        if out_dir is not None:
            kwargs.setdefault('vis_out_dir', f'{out_dir}/visualizations')
            kwargs.setdefault('pred_out_dir', f'{out_dir}/predictions')
        if batch_size < 1:
            raise ValueError(f'batch_size: takes 1 or more, got {batch_size}')
        pre, _, draw, post = self._dispatch_kwargs(**kwargs)
        with ExitStack() as stack:
            frames = self._open(inputs, pre.get('every', 1), pre.pop('start', 0), stack)
            suffix = Path(draw.get('vis_out_dir') or '').suffix
            if suffix and not self._video_input:
                raise ValueError(f'vis_out_dir: takes a folder for images, got {draw["vis_out_dir"]}')
            post['predictions_file'] = stack.enter_context(self._predictions_file(post.get('pred_out_dir')))
            if self._video_input:
                stack.callback(self._release_writer)
            frames = self._track(frames, 'Inference') if self.show_progress else frames
            for batch, sequence in self.preprocess(frames, batch_size, **pre):
                for frame, sample in zip(batch, self.forward(sequence, batch), strict=True):
                    picture = self.visualize([frame], [sample], **draw)
                    yield self.postprocess([sample], picture, return_datasamples=return_datasamples, **post)

    def preprocess(
        self,
        frames: Iterable[Frame],
        batch_size: int = 1,
        *,
        every: int = 1,
        bboxes: Sequence[np.ndarray] | None = None,
        bbox_thr: float = 0.3,
        nms_thr: float = 0.3,
        camera: Camera | str | Path | None = None,
        fov: float | None = None,
        tracking: bool | None = None,
        min_score: float = 0.1,
    ) -> Iterator[tuple[list[Frame], PoseSequence]]:
        """Find the people of each batch of frames, number them and lift them.

        Args:
            frames: The frames.
            batch_size: How many at a time.
            every: Step of their numbers.
            bboxes: People's boxes ``(n, 4)`` of each frame, pixels. Default: the detector finds them.
            bbox_thr: People scored below it are left out.
            nms_thr: Of two boxes that overlap more, only the better one is kept.
            camera: See :meth:`__call__`; so are ``fov`` and ``tracking``.
            fov: Degrees.
            tracking: Whether to number people.
            min_score: Keypoints scored below it count as missing.

        Yields:
            Frames, and the poses on them.
        """
        if camera is None and fov is None:
            camera, fov = self._camera, self._fov
        given_camera = _checked_camera(camera, fov)
        cameras = CameraSource(given_camera, fov)
        tracker = PersonTracker(every=every) if (self._video_input if tracking is None else tracking) else None
        self.pose2d_model.bbox_thr, self.pose2d_model.nms_thr = bbox_thr, nms_thr
        frames, given = iter(frames), None if bboxes is None else iter(bboxes)
        while batch := list(islice(frames, batch_size)):
            boxes = None if given is None else list(islice(given, len(batch)))
            people = self.pose2d_model.predict([frame.image for frame in batch], boxes)
            tracks = [np.full(len(p), -1) if tracker is None else tracker.update(p) for p in people]
            for frame in batch if given_camera is not None else ():
                check_image_size(given_camera, *frame.size, 'camera', frame.name)
            yield (
                batch,
                lift_frames(
                    self.model,
                    batch,
                    [frame.name for frame in batch],
                    people=people,
                    tracks=tracks,
                    cameras=self._cameras(batch, cameras),
                    skeleton=self.pose2d_model.skeleton,
                    min_score=min_score,
                ),
            )

    def _cameras(self, batch: Sequence[Frame], source: CameraSource) -> list[Camera]:
        """The camera of each frame; warns of the first that is guessed."""
        had_guessed = source.num_guessed > 0
        cameras = [source.camera(*frame.size, None if self._video_input else frame.path) for frame in batch]
        if source.num_guessed and not had_guessed:
            warnings.warn(
                f'nothing tells the focal length: took a horizontal field of view of {DEFAULT_FOV_DEG:g} degrees. '
                'Depth scales with the focal length: give camera or fov if you can.',
                stacklevel=4,
            )
        return cameras

    def forward(self, sequence: PoseSequence, frames: Sequence[Frame]) -> list[PoseDataSample]:
        """Data samples of the frames of a lifted batch."""
        samples = []
        for index, frame in enumerate(frames):
            poses = sequence.select(sequence.rows_of_frame(index))
            relative = poses.keypoints_cam - poses.keypoints_cam[:, :1]
            # COCO's scores are of its keypoints: of the joints it is not known how well each was seen.
            scores = poses.scores_2d if sequence.skeleton == 'h36m' else np.ones_like(poses.scores_2d)
            instances = InstanceData(
                keypoints=relative,
                keypoint_scores=scores,
                bboxes=poses.bboxes,
                bbox_scores=poses.bbox_scores,
                root_depth=poses.keypoints_cam[:, 0, 2],
                keypoint_scores_2d=poses.scores_2d,
                track_id=poses.track,
                **{name: getattr(poses, name) for name in _SEQUENCE_FIELDS},
            )
            sample = PoseDataSample(pred_instances=instances)
            sample.set_metainfo(
                dict(
                    img_path=str(frame.path) if frame.path and not self._video_input else frame.name,
                    ori_shape=frame.image.shape[:2],
                    frame_id=frame.number,
                    time=frame.time,
                    camera=sequence.cameras[index : index + 1],
                )
            )
            samples.append(sample)
        return samples

    def visualize(
        self,
        inputs: Sequence[Frame],
        preds: Sequence[PoseDataSample],
        return_vis: bool = False,
        vis_out_dir: str | Path = '',
    ) -> list[np.ndarray]:
        """RGB pictures of frames, also written where a folder is given."""
        if not return_vis and not vis_out_dir:
            return []
        from ..visualization import draw_lift_picture  # matplotlib: only where it is needed

        pictures = []
        for frame, sample in zip(inputs, preds, strict=True):
            found = sample.pred_instances
            camera = sample.metainfo['camera'][0]
            picture = draw_lift_picture(
                frame.image, found.keypoints_2d, found.keypoints_cam, camera, found.keypoint_scores_2d
            )
            pictures.append(np.ascontiguousarray(picture[..., ::-1]))
            if vis_out_dir:
                name = os.path.basename(sample.metainfo['img_path'])
                self.save_visualization(pictures[-1], str(vis_out_dir), img_name=name)
        return pictures if return_vis else []

    def save_visualization(self, visualization: np.ndarray, vis_out_dir: str, img_name: str | None = None) -> None:
        """As MMPose's; frames of a video have the size of its first one's picture."""
        if self._video_input:
            size = self.video_info.setdefault('picture_size', visualization.shape[1::-1])
            if visualization.shape[1::-1] != size:
                visualization = cv2.resize(visualization, size, interpolation=cv2.INTER_AREA)
        super().save_visualization(visualization, vis_out_dir, img_name)

    def postprocess(
        self,
        preds: Sequence[PoseDataSample],
        visualization: list[np.ndarray],
        return_datasample: bool | None = None,
        return_datasamples: bool = False,
        pred_out_dir: str | Path = '',
        predictions_file: _PredictionsFile | None = None,
    ) -> dict[str, Any]:
        """Predictions as dictionaries or data samples, also written where a folder is given."""
        if return_datasample is not None:
            return_datasamples = return_datasample
        results: dict[str, Any] = {'visualization': visualization, 'predictions': []}
        for sample in preds:
            people = None if return_datasamples and not pred_out_dir else _dictionaries(sample.pred_instances)
            results['predictions'].append(sample if return_datasamples else people)
            if predictions_file is not None:
                predictions_file.add(dict(frame_id=sample.metainfo['frame_id'], instances=people))
            elif pred_out_dir:
                _write_json(Path(pred_out_dir, Path(sample.metainfo['img_path']).stem + '.json'), people)
        return results

    def _open(self, inputs: Inputs, every: int, start: int, stack: ExitStack) -> Iterable[Frame]:
        """The frames; ``_video_input`` and ``video_info`` as MMPose keeps them."""
        self._video_input, self.video_info = False, {}
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if not isinstance(inputs, (str, Path)):
            check_choice(every, start)
            if not isinstance(inputs, Iterable):
                raise ValueError(f'inputs: takes a path, an array, or a list of these, got {inputs!r}')
            return _listed_frames(list(inputs), every, start)
        source = stack.enter_context(open_frames(inputs, every=every, start=start))
        self._video_input = source.kind in ('video', 'stream')
        name = source.path.stem if source.path else source.name
        self.video_info = dict(
            fps=source.frame_rate / every, name=f'{name}.mp4', writer=None, width=source.width, height=source.height
        )
        return source

    @contextmanager
    def _predictions_file(self, folder: str | Path | None) -> Iterator[_PredictionsFile | None]:
        if not folder or not self._video_input:
            yield None
            return
        path = Path(folder, Path(self.video_info['name']).stem + '.json')
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary, temporary.open('w', encoding='utf-8') as file:
            predictions = _PredictionsFile(file)
            yield predictions
            predictions.end()

    def _release_writer(self) -> None:
        if self.video_info['writer'] is not None:
            self.video_info['writer'].release()

    @staticmethod
    def _track(frames: Iterable[Frame], description: str) -> Iterable[Frame]:
        from rich.console import Console
        from rich.progress import track

        return track(frames, description, console=Console(stderr=True))


class _PredictionsFile:
    """A JSON list that grows with the frames of a video, so that they need not be kept."""

    def __init__(self, file):
        self._file, self._count = file, 0
        file.write('[')

    def add(self, record: dict) -> None:
        """Write the record of a frame."""
        self._file.write((',\n' if self._count else '\n') + json.dumps(record, allow_nan=False))
        self._count += 1

    def end(self) -> None:
        """Close the list."""
        self._file.write('\n]\n')


def _write_json(path: Path, people: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(people, allow_nan=False, indent=2) + '\n', encoding='utf-8')


def _dictionaries(instances: InstanceData) -> list[dict]:
    """MMPose's dictionaries of people, with this package's fields; JSON has no NaN."""
    people = split_instances(instances)
    for row, person in enumerate(people):
        person['bbox_score'] = float(person['bbox_score'])
        for name in ('keypoints', *_FIELDS):
            value = instances[name][row]
            person[name] = value.tolist() if np.isfinite(value).all() else None
    return people


def _listed_frames(inputs: list, every: int, start: int) -> Iterator[Frame]:
    """Frames of arrays and image files; arrays are named as MMPose does."""
    for number, item in enumerate(inputs):
        if number < start or number % every:
            continue
        if isinstance(item, np.ndarray):
            yield Frame(item, number, float(number), f'{number}.jpg'.rjust(10, '0'), None)
            continue
        if not isinstance(item, (str, Path)):
            raise ValueError(f'inputs: takes arrays and paths of images, item {number} is a {type(item).__name__}')
        with open_frames(item) as source:
            if source.kind != 'image':
                raise ValueError(f'inputs: a list takes images, item {number} is a {source.kind}: {item}')
            frame = next(source)
        yield Frame(frame.image, number, float(number), frame.name, frame.path)


def _checked_camera(camera: Camera | str | Path | None, fov: float | None) -> Camera | None:
    if camera is not None and fov is not None:
        raise ValueError('camera and fov: takes one of the two')
    if fov is not None and not 0 < fov < 180:
        raise ValueError(f'fov: takes degrees between 0 and 180, got {fov:g}')
    camera = read_camera(camera) if isinstance(camera, (str, Path)) else camera
    if camera is not None and (not isinstance(camera, Camera) or camera.batch_size is not None):
        raise ValueError(f'camera: takes one Camera or the path of its file, got {camera!r}')
    return camera
