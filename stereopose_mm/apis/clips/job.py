# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Image, folder, video or stream in; tracked metric 3D people out: what ``tools/demo.py`` does."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from numbers import Integral
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ...geometry import DEFAULT_FOV_DEG
from ...version import __version__
from ...visualization import ClipPainter, ViewerMedia, concatenate_videos, draw_lift_picture
from ..camera_files import check_image_size, read_camera
from ..frame_source import FrameSource, open_frames
from ..image_files import unicode_name
from ..keypoint_files import KeypointFile
from ..lift_files import load_lifter
from ..lifting import shipped_lifter
from ..tracking import PersonTracker
from ..views import picture_name
from .cameras import CameraSource
from .finish import ClipFinisher
from .inputs import read_frame_keypoints, version_of
from .outputs import PICTURE_FOLDER, SAVE, SUMMARY_FILE, VIDEO_FILE, ResultWriter, check_output, write_summary
from .stages import PICTURE_SIZE, FinishStage, LiftStage
from .store import ClipStore

# Frames whose people are lifted together where no 2D network bounds them.
_FILE_BATCH = 64
# Options that may name files.
_FILES = (
    'source', 'keypoints', 'camera', 'config', 'checkpoint', 'det', 'det_weights', 'pose2d', 'pose2d_weights',
)  # fmt: skip
# Results of which one run may write more than the next, by suffix.
_SEVERAL = {'.mp4': 'video', '.png': 'video', '.bvh': 'bvh', '.glb': 'gltf'}


@dataclass(frozen=True)
class ClipSummary:
    """What :func:`lift_clip` did.

    Attributes:
        num_frames: Frames read.
        num_people: People told apart.
        num_poses: Poses in 2D.
        num_lifted: Poses in 3D.
        reprojection_error: Mean over the lifted poses, pixels; NaN if there are none.
        camera: What told the camera.
        resumed_at: Frames that an interrupted run had left; 0 for none.
        files: What was written.
        notes: Lines on what was done to the poses.
        warnings: Lines on what was guessed, skipped or left out.
    """

    num_frames: int
    num_people: int
    num_poses: int
    num_lifted: int
    reprojection_error: float
    camera: str
    resumed_at: int
    files: list[Path]
    notes: list[str]
    warnings: list[str]


def lift_clip(
    source: str | Path,
    out: str | Path,
    *,
    keypoints: str | Path | None = None,
    keypoint_format: str | None = None,
    skeleton: str = 'coco',
    pose2d: str | None = None,
    pose2d_weights: str | None = None,
    det: str | None = None,
    det_weights: str | None = None,
    camera: str | Path | None = None,
    camera_name: str | None = None,
    fov: float | None = None,
    every: int = 1,
    max_frames: int | None = None,
    free_bones: bool = False,
    smooth: bool = False,
    ground: bool = False,
    save: Sequence[str] = ('video', 'json', 'npz'),
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: str = 'cpu',
    half: bool = False,
    batch_size: int = 8,
    min_score: float = 0.1,
    restart: bool = False,
) -> ClipSummary:
    """Lift the people of an image, a folder of images, a video or a stream to metric 3D, and write what was asked for.

    The work is kept in parts under ``out/.parts`` until all is written: called again after an interruption, it goes on
    from the last part. A stream is recorded there until it ends or a signal (SIGINT) ends it.

    Args:
        source: Image, folder, video, ``'webcam:0'`` or a URL; see :func:`~stereopose_mm.apis.open_frames`.
        out: Folder to write to. Earlier results there are replaced.
        keypoints: File or folder of 2D keypoints, see :func:`~stereopose_mm.apis.read_keypoints`. Without it, 2D
            networks find people.
        keypoint_format: Format of ``keypoints``. Default: told from its content.
        skeleton: What the keypoints are, where their file does not tell.
        pose2d: Config or alias of an MMPose model. Default: MMPose's alias ``'human'``.
        pose2d_weights: Its checkpoint; ``'none'`` for random weights, to try the plumbing.
        det: Config or alias of an MMDet person detector, or ``'whole_image'``. Default: MMPose's own choice.
        det_weights: Its checkpoint, as above.
        camera: File of the camera, see :func:`~stereopose_mm.apis.read_camera`.
        camera_name: Which camera of the file.
        fov: Horizontal field of view in degrees instead. Default: a photograph's EXIF data, else
            :data:`~stereopose_mm.geometry.DEFAULT_FOV_DEG` with a warning.
        every: Take each so-many-th frame.
        max_frames: Stop after so many.
        free_bones: Leave each pose its own bone lengths; else each person of a video has the same on all frames.
        smooth: Smooth joints over time by a One-Euro filter; see :class:`~stereopose_mm.geometry.OneEuroFilter` for
            its lag. Joints then leave their rays a little.
        ground: Estimate the ground from the feet and give world coordinates on it. The camera must not move.
        save: Some of ``'video'`` (pictures, for photographs), ``'json'``, ``'npz'``, ``'bvh'``, ``'gltf'``, ``'html'``.
        config: For :func:`~stereopose_mm.apis.init_lifter`, as ``checkpoint``. Default: the shipped lifter.
        checkpoint: See ``config``.
        device: Where to run, for example ``'cuda'``.
        half: Run 2D networks in half precision, on a GPU. The lifter is too small to gain from it.
        batch_size: Frames that 2D networks see at a time.
        min_score: Keypoints scored below it count as missing.
        restart: Do not go on with an interrupted run.

    Returns:
        :class:`ClipSummary`.

    Raises:
        ValueError: For input that cannot be used, or an output folder that cannot be written.
        KeyboardInterrupt: If a signal ended it; what was done is kept.
    """
    job = {name: value for name, value in locals().items() if name not in ('out', 'restart')}
    return _Job(Path(out), restart, **job).run()


class _Job:
    """The steps of :func:`lift_clip`, all input checked when it is made."""

    def __init__(self, out: Path, restart: bool, source: str | Path, save: Sequence[str], **options):
        self.out, self.options = out, options
        self.source, self.save = str(source), tuple(kind for kind in SAVE if kind in save) if save else ()
        self.warnings: list[str] = []
        self.keypoints: KeypointFile | None = None
        self._check_numbers()
        check_output(out, tuple(save))
        with self._open() as frames:
            self._look_at(frames)
        self.lifter = load_lifter(options['config'], options['checkpoint'], options['device'], self.skeleton)
        self.store = self._open_store(restart)

    def _check_numbers(self) -> None:
        options = self.options
        if not (math.isfinite(options['min_score']) and options['min_score'] >= 0):
            raise ValueError(f'min_score: takes a number of at least 0, got {options["min_score"]}')
        for name in ('every', 'batch_size', 'max_frames'):
            if options[name] is not None and not (isinstance(options[name], Integral) and options[name] >= 1):
                raise ValueError(f'{name}: takes a whole number of at least 1, got {options[name]}')
        if options['fov'] is not None and not 0 < options['fov'] < 180:
            raise ValueError(f'fov: takes degrees between 0 and 180, got {options["fov"]:g}')
        if options['camera'] is not None and options['fov'] is not None:
            raise ValueError('camera and fov: takes one of the two')
        if options['keypoints'] is not None and options['pose2d'] is not None:
            raise ValueError('keypoints and pose2d: takes one of the two')

    def _open(self, done: int = 0, start: int = 0, pixels: bool = True) -> FrameSource:
        most = self.options['max_frames']
        left = None if most is None else most - done
        return open_frames(self.source, self.options['every'], start, left, pixels=pixels)

    def _look_at(self, frames: FrameSource) -> None:
        """Learn what the source is, and check camera and keypoints against it."""
        options = self.options
        self.kind, self.title, self.size = frames.kind, frames.name, (frames.width, frames.height)
        self.num_frames = frames.num_selected
        given = None
        if options['camera'] is not None:
            given = read_camera(options['camera'], options['camera_name'])
            check_image_size(given, frames.width, frames.height, options['camera'], self.source)
        self.cameras = CameraSource(given, options['fov'])
        if options['keypoints'] is not None:
            self.keypoints = file = read_frame_keypoints(
                frames, options['keypoints'], options['skeleton'], options['keypoint_format']
            )
            self.skeleton, self.batch_size = file.skeleton, _FILE_BATCH
            named = frames.names is not None
            self.people_of = lambda batch: [file.people(f.number, f.name if named else None) for f in batch]
        else:
            estimator = self._estimator()
            self.skeleton, self.batch_size = estimator.skeleton, options['batch_size']
            self.people_of = lambda batch: estimator.predict([frame.image for frame in batch])

    def _estimator(self):
        from ..pose2d import TopDownEstimator  # MMDet takes seconds to load

        options = self.options
        return TopDownEstimator(
            options['pose2d'] or 'human', options['pose2d_weights'], options['det'], options['det_weights'],
            device=options['device'], half=options['half'],
        )  # fmt: skip

    @property
    def _is_clip(self) -> bool:
        return self.kind in ('video', 'stream')

    @property
    def _takes_pixels(self) -> bool:
        """Whether frames have to be decoded to lift their people, or to record them."""
        return self.options['keypoints'] is None or self.kind == 'stream'

    def _open_store(self, restart: bool) -> ClipStore:
        # A stream is another one each time: what an interrupted run has recorded cannot be gone on with.
        settings = {name: None if value is None else str(value) for name, value in self.options.items()}
        settings |= {'source': self.source, 'draws': 'video' in self.save and self._is_clip, 'version': __version__}
        for name in _FILES:
            if settings[name] and Path(settings[name]).exists():
                settings[f'{name}_file'] = version_of(Path(settings[name]))
        folder = self.out / '.parts'
        if restart or self.kind == 'stream':
            shutil.rmtree(folder, ignore_errors=True)
        return self._writing(ClipStore, folder, settings)

    def _writing(self, function, *args):
        try:
            return function(*args)
        except OSError as error:
            raise ValueError(f'{self.out}: cannot be written: {error.strerror or error}') from error

    def run(self) -> ClipSummary:
        return self._writing(self._run)

    def _run(self) -> ClipSummary:
        with _progress() as progress:
            resumed_at = self._lift(progress)
            finisher = self._finish(progress)
        files = self._write_results()
        self._remove_earlier(files)
        summary = self._summarise(finisher, resumed_at, files)
        values = {**vars(summary), 'files': [str(f.relative_to(self.out)) for f in files]}
        if math.isnan(summary.reprojection_error):
            values['reprojection_error'] = None
        write_summary(self.out, {'source': self.source, **values})
        self.store.remove()
        return summary

    def _lift(self, progress: Progress) -> int:
        stage = self.store.stage('lifted')
        lifting = LiftStage(
            stage,
            self.people_of,
            self.batch_size,
            self.lifter,
            self.cameras,
            tracker=PersonTracker(every=self.options['every']) if self._is_clip else None,
            skeleton=self.skeleton,
            min_score=self.options['min_score'],
            record=self.kind == 'stream',
        )
        lifting.restore()
        self.warnings = self.store.warnings()
        before = lifting.num_frames
        task = progress.add_task('lifting', total=self.num_frames, completed=before)
        # A signal may have come with the last frame that is wanted.
        if not stage.finished and before != self.options['max_frames']:
            with self._open(before, lifting.next_number, self._takes_pixels) as frames:
                completed = lifting.run(frames, self.options['every'], lambda n: progress.advance(task, n))
                self.warnings = list(dict.fromkeys(self.warnings + frames.warnings))
            self.store.keep_warnings(self.warnings)
            if not completed and self.kind != 'stream':
                raise KeyboardInterrupt(f'{lifting.num_frames} frames are lifted')
            if not len(stage):
                raise ValueError(f'{self.source}: has no frames')
        stage.finish()
        progress.remove_task(task)
        self.num_frames = lifting.num_frames
        return before

    def _finish(self, progress: Progress) -> ClipFinisher:
        options, lifted = self.options, self.store.stage('lifted')
        constant = self._is_clip and not options['free_bones']
        finisher = ClipFinisher(lifted, constant, options['smooth'] and self._is_clip, options['ground'])
        draws = 'video' in self.save and self._is_clip
        painter = self._painter(finisher) if draws else None
        finishing = FinishStage(lifted, self.store.stage('finished'), finisher, painter)
        finishing.restore()
        task = progress.add_task(
            'drawing' if draws else 'finishing', total=self.num_frames, completed=finishing.num_frames
        )
        finishing.run(self._images(finishing.num_frames) if draws else None, lambda n: progress.advance(task, n))
        return finisher

    def _painter(self, finisher: ClipFinisher) -> ClipPainter:
        first = self.store.stage('lifted').read(0)
        aspect = float(first.cameras.width[0] / first.cameras.height[0])
        return ClipPainter(finisher.bounds, PICTURE_SIZE, first.skeleton, self.title, aspect)

    def _images(self, done: int) -> Iterator[np.ndarray | None]:
        """The frames again, but those that are done; None for one that cannot be decoded."""
        lifted = self.store.stage('lifted')
        if self.kind == 'stream':
            pieces = (open_frames(lifted.file(index, '.mp4')) for index in range(len(lifted)))
            yield from islice(chain.from_iterable(map(_images_of, pieces)), done, None)
        elif done < self.num_frames:
            numbers = np.concatenate([lifted.read_array(i, 'frame_numbers') for i in range(len(lifted))])
            with self._open(done, int(numbers[done])) as frames:
                frame = next(frames, None)
                for number in numbers[done:].tolist():
                    while frame is not None and frame.number < number:
                        frame = next(frames, None)
                    yield frame.image if frame is not None and frame.number == number else None

    def _write_results(self) -> list[Path]:
        stage = self.store.stage('finished')
        skeleton = stage.read(0).skeleton
        config, checkpoint = shipped_lifter(skeleton)
        info = {
            'source': unicode_name(self.source),
            'config': Path(self.options['config'] or config).name,
            'checkpoint': Path(self.options['checkpoint'] or checkpoint).name,
        }
        writer = ResultWriter(self.out, stage, info, self.title, self.warnings)
        files = []
        for kind in self.save:
            if kind == 'video':
                files += self._write_video() if self._is_clip else self._write_pictures()
            else:
                files += writer.write(kind, self._media() if kind == 'html' else None)
        return files

    def _remove_earlier(self, written: list[Path]) -> None:
        """Delete results of an earlier run that are of a kind written now: they are not of this clip."""
        try:
            earlier = json.loads((self.out / SUMMARY_FILE).read_text(encoding='utf-8'))['files']
        except (OSError, ValueError, LookupError):
            return
        for file in (self.out / name for name in earlier):
            ours = file.parent in (self.out, self.out / PICTURE_FOLDER) and _SEVERAL.get(file.suffix) in self.save
            if ours and file not in written:
                file.unlink(missing_ok=True)

    def _write_video(self) -> list[Path]:
        stage, path = self.store.stage('finished'), self.out / VIDEO_FILE
        concatenate_videos([stage.file(index, '.mp4') for index in range(len(stage))], path)
        return [path]

    def _write_pictures(self) -> list[Path]:
        folder = self.out / PICTURE_FOLDER
        folder.mkdir(exist_ok=True)
        files, taken = [], set()
        images = self._images(0)
        for part in self.store.stage('finished'):
            for index in range(part.num_frames):
                people = part.select(part.rows_of_frame(index))
                picture = draw_lift_picture(
                    next(images), people.keypoints_2d, people.keypoints_cam, part.cameras[index], people.scores_2d
                )
                files.append(folder / picture_name(Path(str(part.frame_names[index])).stem, taken))
                if not cv2.imwrite(str(files[-1]), picture):
                    raise OSError(f'{files[-1].name} was not written')
        return files

    def _media(self) -> ViewerMedia:
        media = ViewerMedia('video' if self._is_clip else 'photos')
        times = chain.from_iterable(part.frame_times.tolist() for part in self.store.stage('finished'))
        before = None
        for image, time in zip(self._images(0), times, strict=False):
            if image is None:  # the page takes a picture for each frame
                image = np.zeros((self.size[1], self.size[0], 3), np.uint8) if before is None else before
            media.add(image, time)
            before = image
            if media.full:
                break
        return media

    def _summarise(self, finisher: ClipFinisher, resumed_at: int, files: list[Path]) -> ClipSummary:
        stage = self.store.stage('finished')

        def column(name: str) -> np.ndarray:
            return np.concatenate([stage.read_array(index, name) for index in range(len(stage))])

        valid = column('valid')
        errors = column('reprojection_error')[valid]
        return ClipSummary(
            num_frames=self.num_frames,
            num_people=len(np.unique(column('track'))),
            num_poses=len(valid),
            num_lifted=int(valid.sum()),
            reprojection_error=float(errors.mean()) if len(errors) else math.nan,
            camera=self._camera_words(),
            resumed_at=resumed_at,
            files=files,
            notes=finisher.notes,
            warnings=self._camera_warnings() + self._keypoint_warnings() + self.warnings + finisher.warnings,
        )

    def _keypoint_warnings(self) -> list[str]:
        """Of a video whose file does not tell how many frames it has, only reading tells which are not there."""
        if self.keypoints is None or self.kind != 'video' or self.options['max_frames'] is not None:
            return []
        stage = self.store.stage('lifted')
        read = int(stage.read_array(len(stage) - 1, 'frame_numbers')[-1]) + self.options['every']
        lost = sum(number >= read for number in self.keypoints.frame_numbers)
        return [f'{self.keypoints.path}: {lost} frames are after the end of the video'] if lost else []

    def _camera_words(self) -> str:
        if self.options['camera'] is not None:
            return str(self.options['camera'])
        if self.options['fov'] is not None:
            return f'field of view of {self.options["fov"]:g} degrees'
        if self.cameras.num_guessed == self.num_frames:
            return f'guessed: field of view of {DEFAULT_FOV_DEG:g} degrees'
        return 'EXIF data' + ', or guessed' * (self.cameras.num_guessed > 0)

    def _camera_warnings(self) -> list[str]:
        lines = []
        if self.cameras.num_guessed:
            lines.append(
                f'{self.cameras.num_guessed} of {self.num_frames} frames tell no focal length: took a horizontal field '
                f'of view of {DEFAULT_FOV_DEG:g} degrees. Depth scales with the focal length: give --camera or --fov '
                'if you can.'
            )
        if self.cameras.num_resized:
            lines.append(
                f'{self.cameras.num_resized} frames have another size than the camera file says: took its field of '
                'view, and the centre of the image'
            )
        return lines


def _images_of(frames: FrameSource) -> Iterator[np.ndarray]:
    with frames:
        for frame in frames:
            yield frame.image


class _Rate(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        return Text('' if task.speed is None else f'{task.speed:,.1f} frames/s')


@contextmanager
def _progress() -> Iterator[Progress]:
    """One bar on stderr, where that is a terminal."""
    console = Console(file=sys.stderr)
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress
