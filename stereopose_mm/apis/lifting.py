# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""2D keypoints in, metric 3D poses out: the two calls most users need."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..datasets import h36m_metainfo
from ..geometry import Camera, get_skeleton, map_scores, mapping_matrix
from ..models import fold_batch_norm

Array = np.ndarray | Tensor

_WEIGHTS = Path(__file__).resolve().parents[1] / 'weights'
# By the keypoints that they take; MPI-INF-3DHP's are Human3.6M's in another order.
_SHIPPED = {'h36m': 'stereo-lift_default', 'coco': 'stereo-lift_coco', 'mpi_inf_3dhp': 'stereo-lift_default'}
# Poses lifted together: the widest activation then stays in the cache.
_CHUNK = 2048


@dataclass(frozen=True)
class LiftResult:
    """Poses that :func:`lift_keypoints` returns, as arrays of the kind it was given.

    A pose that cannot be lifted (see ``valid``) has NaN everywhere.

    Attributes:
        keypoints_cam: ``(N, 17, 3)`` metres, H36M-17 in the camera frame, absolute.
        keypoints: ``(N, 17, 3)`` metres, relative to the root.
        input_keypoints_cam: ``(N, 17, 3)`` metres, the keypoints that the lifter takes (COCO-17 or H36M-17) in the
            camera frame: those ``used`` lie on their rays, so that they reproject onto the 2D input exactly.
        uncertainty: ``(N, 17)`` metres, standard deviation of each joint's depth relative to the root's, along the line
            of sight to the root; NaN from a lifter that has none.
        root_depth: ``(N,)`` metres, z of the root.
        reprojection_error: ``(N,)`` pixels, mean distance of the projected input keypoints from the used 2D input.
        search_residual: ``(N,)`` metres, how far back-projection moved the network's keypoints sideways: large
            where pose and picture disagree.
        used: ``(N, 17)`` bool, which input keypoints were put on their rays: those scored well enough and not taken for
            errors of the detector.
        valid: ``(N,)`` bool.
    """

    keypoints_cam: Array
    keypoints: Array
    input_keypoints_cam: Array
    uncertainty: Array
    root_depth: Array
    reprojection_error: Array
    search_residual: Array
    used: Array
    valid: Array

    def __len__(self) -> int:
        return len(self.valid)

    def select(self, rows: Array) -> LiftResult:
        """The poses of some rows: indices or a mask."""
        return LiftResult(*(getattr(self, field.name)[rows] for field in fields(self)))


def shipped_lifter(skeleton: str = 'h36m') -> tuple[Path, Path]:
    """Config and checkpoint that the package ships for keypoints of a skeleton; see :func:`init_lifter`."""
    name = _SHIPPED[get_skeleton(skeleton).name]
    return _WEIGHTS / f'{name}.py', _WEIGHTS / f'{name}.pth'


def init_lifter(
    config: str | Path | Config | None = None,
    checkpoint: str | Path | None = None,
    device: str | torch.device = 'cpu',
    skeleton: str = 'h36m',
) -> nn.Module:
    """Load a lifter for inference.

    Args:
        config: Config file or object of a stereo lifter. Default: the one shipped with the package.
        checkpoint: Checkpoint file; loaded with ``weights_only=True``. Default: the one shipped, for the shipped
            config; a config of your own needs its checkpoint.
        device: Where to run.
        skeleton: Which of the shipped lifters: ``'coco'`` for keypoints of COCO-17, ``'h36m'`` for those of H36M-17 and
            MPI-INF-3DHP-17. Without meaning where a config is given.

    Returns:
        MMPose's ``PoseLifter`` in evaluation mode, its batch normalisation folded. It also serves MMPose's own
        ``inference_pose_lifter_model``, which takes H36M-17 keypoints to a lifter of them, and COCO's to one of COCO's.

    Raises:
        ValueError: If a file is missing or cannot be loaded, the config is no stereo lifter's, the checkpoint is not
            the config's, or a config comes without a checkpoint.
    """
    if config is None:
        config, shipped = shipped_lifter(skeleton)
        checkpoint = checkpoint or shipped
    if checkpoint is None:
        raise ValueError(f'config {config} needs its checkpoint')
    for path in (config, checkpoint):
        if not isinstance(path, Config) and not Path(path).is_file():
            raise ValueError(f'no such file: {path}')
    if not isinstance(config, Config):
        config = Config.fromfile(str(config))
    head = config.get('model', {}).get('head', {})
    if head.get('type') != 'StereoLifter' or head.get('search') is None:
        raise ValueError(f'the config is not of a StereoLifter with a search: its head is {head.get("type")}')
    # MMDet's models leave their own scope behind.
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = MODELS.build(config.model)
    loaded = load_checkpoint(checkpoint)
    try:
        model.load_state_dict(loaded['state_dict'])
    except (KeyError, RuntimeError) as error:
        raise ValueError(f'{checkpoint}: not a checkpoint of the config: {error}') from error
    model.dataset_meta = loaded.get('meta', {}).get('dataset_meta') or h36m_metainfo()
    model.cfg = config
    return fold_batch_norm(model.eval()).to(device)


def load_checkpoint(path: str | Path) -> dict:
    """Load a checkpoint with ``weights_only=True``, on the CPU.

    Raises:
        ValueError: If it cannot be loaded, or is no dict; names the file.
    """
    # Said outright for torch < 2.6, whose default is to unpickle anything.
    try:
        loaded = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch's unpickler raises whatever a file that is none makes it run into
        raise ValueError(f'{path}: cannot be loaded as a checkpoint: {error}') from error
    if not isinstance(loaded, dict):
        raise ValueError(f'{path}: not a checkpoint: it holds a {type(loaded).__name__}')
    return loaded


def coco_to_h36m(keypoints: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COCO-17 detections as H36M-17 ones.

    For a lifter of H36M-17 keypoints; the one for COCO-17 needs none of it and is more accurate. Coordinates are
    MMPose's own conversion. It puts the spine half-way between hips and shoulders and the head top
    between the eyes, which is not where they are: both get score 0, and the lifter fills them in.

    Args:
        keypoints: ``(N, 17, 2)`` pixels.
        scores: ``(N, 17)``.

    Returns:
        ``(N, 17, 2)`` pixels and ``(N, 17)`` scores; the smaller one where two keypoints are averaged.
    """
    from mmpose.apis import convert_keypoint_definition  # loads detectors too: only where it is needed

    converted = convert_keypoint_definition(np.asarray(keypoints), 'coco', 'h36m')
    return converted, map_scores('coco', torch.as_tensor(scores)).numpy()


def to_lifter_keypoints(
    lifter: nn.Module, keypoints: np.ndarray, scores: np.ndarray, skeleton: str
) -> tuple[np.ndarray, np.ndarray, str]:
    """Keypoints in the set and order that a lifter takes.

    Args:
        lifter: From :func:`init_lifter`.
        keypoints: ``(N, 17, 2)`` pixels.
        scores: ``(N, 17)``.
        skeleton: What the keypoints are.

    Returns:
        ``(N, 17, 2)`` pixels, ``(N, 17)`` scores, and ``'coco'`` or ``'h36m'``.

    Raises:
        ValueError: If the lifter is of COCO's keypoints and these are not.
    """
    takes = lifter.head.decoder.keypoint_set
    if skeleton == takes:
        return keypoints, scores, takes
    if takes == 'coco':
        raise ValueError(
            f"skeleton: the lifter takes 'coco' keypoints, got {skeleton!r}: use init_lifter(skeleton={skeleton!r})"
        )
    if skeleton == 'coco':
        return *coco_to_h36m(keypoints, scores), takes
    order = mapping_matrix(skeleton)[0].argmax(1).numpy()
    return keypoints[:, order], scores[:, order], takes


def lift_keypoints(
    lifter: nn.Module,
    keypoints: Array,
    keypoint_scores: Array | None = None,
    skeleton: str = 'h36m',
    camera: Camera | None = None,
    min_score: float = 0.1,
) -> LiftResult:
    """Lift 2D keypoints to metric 3D.

    Args:
        lifter: From :func:`init_lifter`.
        keypoints: ``(N, 17, 2)`` pixels, numpy or torch.
        keypoint_scores: ``(N, 17)``, non-negative; they tell the network how far to trust each keypoint and weigh the
            geometric search. Default: all 1, which says that the keypoints are exact.
        skeleton: What the keypoints are: ``'h36m'``, ``'coco'`` or ``'mpi_inf_3dhp'``. COCO's are converted
            (:func:`coco_to_h36m`) where the lifter is not of ``init_lifter(skeleton='coco')``, and less accurate then.
        camera: One camera, or a batch of N; :meth:`Camera.from_fov` where only the image size is known.
        min_score: Keypoints scored below it count as missing. A root among them counts at any score but 0, at which the
            pose cannot be lifted; COCO has none, and any three keypoints do.

    Returns:
        :class:`LiftResult` of arrays of the kind, dtype and device of ``keypoints`` (float32 at least).

    Raises:
        ValueError: For wrong shapes, an unknown skeleton or one that the lifter does not take, no camera, or values
            that are not finite; names the first pose at fault.
    """
    points, scores = _checked_input(lifter, keypoints, keypoint_scores, skeleton)
    if not isinstance(camera, Camera):
        raise ValueError(f'camera takes a Camera, for example Camera.from_fov(55, width, height), got {camera!r}')
    if camera.batch_size not in (None, len(points)):
        raise ValueError(f'camera: {camera.batch_size} cameras for {len(points)} poses; takes one, or one a pose')
    device = next(lifter.parameters()).device
    # Single cameras keep Python numbers; batches go along with the poses.
    camera = camera.to(device=device)
    chunks = []
    with torch.inference_mode():
        for start in range(0, len(points), _CHUNK):
            part = slice(start, start + _CHUNK)
            cameras = camera if camera.batch_size is None else camera[part]
            chunks.append(_lift_chunk(lifter, points[part].to(device), scores[part].to(device), cameras, min_score))
    if not chunks:
        empty = points.new_zeros(0)
        row = points.new_zeros(0, 17)
        chunks = [LiftResult(*[row.new_zeros(0, 17, 3)] * 3, row, *[empty] * 3, row.bool(), empty.bool())]
    result = {f.name: torch.cat([getattr(c, f.name) for c in chunks]) for f in fields(LiftResult)}
    if isinstance(keypoints, np.ndarray):
        return LiftResult(**{key: value.cpu().numpy() for key, value in result.items()})
    return LiftResult(**{key: value.to(keypoints.device) for key, value in result.items()})


def _checked_input(lifter: nn.Module, keypoints: Array, scores: Array | None, skeleton: str) -> tuple[Tensor, Tensor]:
    """``(N, 17, 2)`` pixels and ``(N, 17)`` scores of the lifter's keypoint set, as tensors."""
    num_keypoints = get_skeleton(skeleton).num_keypoints
    if not isinstance(keypoints, (np.ndarray, Tensor)):
        raise ValueError(f'keypoints takes a numpy array or a tensor, got {type(keypoints).__name__}')
    if keypoints.ndim != 3 or tuple(keypoints.shape[1:]) != (num_keypoints, 2):
        raise ValueError(f'keypoints takes (N, {num_keypoints}, 2) for {skeleton!r}, got {tuple(keypoints.shape)}')
    points = torch.as_tensor(keypoints)
    if points.dtype != torch.float64:
        points = points.float()
    if scores is None:
        scores = torch.ones_like(points[..., 0])
    elif tuple(scores.shape) != tuple(points.shape[:2]):
        raise ValueError(f'keypoint_scores takes {tuple(points.shape[:2])}, got {tuple(scores.shape)}')
    scores = torch.as_tensor(scores).to(points)
    for name, good in (
        ('keypoints', points.isfinite().all(-1)),
        ('keypoint_scores', scores.isfinite() & (scores >= 0)),
    ):
        if not bool(good.all()):
            pose, joint = (~good).nonzero()[0].tolist()
            raise ValueError(
                f'{name}: pose {pose}, keypoint {joint} is not finite' + ' or negative' * ('scores' in name)
            )
    if skeleton == lifter.head.decoder.keypoint_set:
        return points, scores
    *converted, _ = to_lifter_keypoints(lifter, points.cpu().numpy(), scores.cpu().numpy(), skeleton)
    return tuple(torch.from_numpy(c).to(points) for c in converted)


def _lift_chunk(lifter: nn.Module, points: Tensor, scores: Tensor, camera: Camera, min_score: float) -> LiftResult:
    """Encode, synthesise, reconstruct, decode and search one chunk."""
    codec, search = lifter.head.decoder, lifter.head.search
    # A root of low score still has a place; one of none has not, and everything is relative to it.
    has_root = scores[:, codec.root_index] > 0 if codec.keypoint_set == 'h36m' else torch.ones_like(scores[:, 0]).bool()
    scores = torch.where(scores >= min_score, scores, 0.0)
    encoded = codec.encode_batch(points, scores, camera)
    coarse, uncertainty = lifter.head.forward_uncertain(lifter.backbone(encoded['inputs'].float()[..., None]))
    relative = codec.decode_batch(coarse.to(points.dtype), encoded['view_rotation'])
    if uncertainty is not None:
        uncertainty = uncertainty.to(points.dtype)
    found = search(
        relative, encoded['rays'], encoded['search_weight'], encoded['focal'], encoded['view_rotation'], uncertainty
    )
    distance = (camera.project(found.input_keypoints_cam) - points).norm(dim=-1)
    error = torch.where(found.used, distance, 0.0).sum(-1) / found.used.sum(-1).clamp(min=1)
    # A joint behind the camera was not seen by it.
    valid = found.valid & has_root & (found.keypoints_cam[..., 2] > 0).all(-1)
    valid &= (~found.used | (found.input_keypoints_cam[..., 2] > 0)).all(-1)
    nan = torch.tensor(float('nan'), dtype=points.dtype, device=points.device)
    keypoints_cam, seen_cam = (
        torch.where(valid[:, None, None], v, nan) for v in (found.keypoints_cam, found.input_keypoints_cam)
    )
    deviation = torch.full_like(keypoints_cam[..., 0], torch.nan)
    if uncertainty is not None:
        deviation = torch.where(valid[:, None], uncertainty[:, : deviation.shape[1]], nan)
    root = keypoints_cam[:, codec.root_index, None]
    depth, error, residual = (torch.where(valid, v, nan) for v in (found.root_depth, error, found.search_residual))
    used = found.used & valid[:, None]
    return LiftResult(keypoints_cam, keypoints_cam - root, seen_cam, deviation, depth, error, residual, used, valid)
