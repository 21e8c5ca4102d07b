# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""The columns of labels, beyond those of Wild-3D, and of rejected records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch

from ..datasets.wild3d_files import make_table, wild3d_schema
from ..datasets.wild3d_files.schema import keypoint_bounds
from ..geometry import map_scores
from .annotations import Annotations
from .cameras import FoundCameras
from .columns import as_column
from .quality import PARTS
from .refine import RefinedLabels, joint_scores
from .splits import image_ids, record_ids

LABELS_VERSION = 1
_NUMBER, _TEXT = pa.float32(), pa.string()
_NUM = 17


_INPUT = {
    'keypoint_set': _TEXT,
    'input_keypoints': pa.list_(_NUMBER, 2 * _NUM),
    'input_visibility': pa.list_(pa.uint8(), _NUM),
    'input_scores': pa.list_(_NUMBER, _NUM),
}
#: Columns that follow those of Wild-3D: the 2D that labels were made from, in its own keypoint set and in 3D, standard
#: deviations of depths in metres, what the camera is from, how far refinement moved joints in metres, the error in
#: millimetres that the parts of quality let expect, the probability that left and right are confused, and the parts.
LABEL_COLUMNS = {
    **_INPUT,
    'input_keypoints_3d': pa.list_(_NUMBER, 3 * _NUM),
    'uncertainty': pa.list_(_NUMBER, _NUM),
    'camera_source': _TEXT,
    'refine_moved': _NUMBER,
    'expected_error': _NUMBER,
    'side_doubt': _NUMBER,
    **{f'part_{name}': _NUMBER for name in PARTS},
}
_REJECT_COLUMNS = {
    'id': pa.int64(),
    'source': _TEXT,
    'source_record': _TEXT,
    'file_name': _TEXT,
    'reason': _TEXT,
    'detail': _TEXT,
    'label_quality': _NUMBER,
    'bbox': pa.list_(_NUMBER, 4),
    **_INPUT,
}


def label_schema() -> pa.Schema:
    """Columns of labels."""
    base = wild3d_schema('h36m', dict(description='2D annotations with 3D labels by stereopose_mm'))
    fields = [pa.field(name, kind, nullable=False) for name, kind in LABEL_COLUMNS.items()]
    return pa.schema([*base, *fields], base.metadata | {b'wild3d.labels': str(LABELS_VERSION).encode()})


def reject_schema() -> pa.Schema:
    """Columns of rejected records: who, why, and the 2D as far as it could be read."""
    fields = [pa.field(name, kind, nullable=name == 'label_quality') for name, kind in _REJECT_COLUMNS.items()]
    return pa.schema(fields, {b'wild3d.rejects': str(LABELS_VERSION).encode()})


def label_table(
    people: Annotations,
    cameras: FoundCameras,
    used: np.ndarray,
    uncertainty: np.ndarray,
    refined: RefinedLabels,
    quality: np.ndarray,
    parts: Mapping[str, np.ndarray],
    provenance: Mapping,
) -> pa.Table:
    """Labels as rows of :func:`label_schema`.

    Args:
        people: n people, whose labels are kept.
        cameras: Theirs.
        used: ``(n, 17)`` bool, their keypoints that are on their rays.
        uncertainty: ``(n, 17)`` metres.
        refined: Their poses.
        quality: ``(n,)``.
        parts: Of quality, with ``expected_error`` and ``side_doubt``.
        provenance: ``generator``, ``config_hash`` and ``seed``.
    """
    num = len(people)
    pose = refined.keypoints_cam.astype(np.float32)
    camera = cameras.camera
    pixels = camera.project(torch.from_numpy(pose).double()).numpy()
    seen = map_scores(people.keypoint_set, torch.from_numpy((people.visibility * used).astype(np.float32))).numpy() > 0
    trust = joint_scores(torch.from_numpy(np.where(used, people.scores, 0).astype(np.float64)), people.keypoint_set)
    distortion = np.zeros((num, 8))
    if camera.distortion is not None:
        distortion[:, : camera.distortion.shape[-1]] = camera.distortion
    boxed = (people.bbox[:, 2:] > 0).all(1, keepdims=True)
    table = make_table(
        'h36m',
        id=record_ids(people),
        image_id=image_ids(people.file_name, cameras.image_size),
        file_name=people.file_name.astype(object),
        width=cameras.image_size[:, 0],
        height=cameras.image_size[:, 1],
        bbox=np.where(boxed, people.bbox, keypoint_bounds(people.keypoints, people.visibility)),
        keypoints=pixels,
        visibility=np.where(seen, 2, 1),
        keypoint_scores=np.where(seen, trust.numpy(), 0),
        keypoints_3d=np.concatenate([pose, np.ones((num, _NUM, 1))], -1),
        camera=torch.stack([camera.fx, camera.fy, camera.cx, camera.cy], -1).numpy(),
        distortion=distortion,
        label_quality=quality,
        detection_score=people.person_score,
        reprojection_error=parts['reprojection_error'],
        search_residual=parts['residual'],
        source=people.source.astype(object),
        source_record=people.record.astype(object),
        **{name: [value] * num for name, value in provenance.items()},
    )
    extra = dict(
        **_input_columns(people),
        input_keypoints_3d=refined.input_keypoints_cam,
        uncertainty=uncertainty,
        camera_source=cameras.origin,
        refine_moved=refined.moved,
        expected_error=parts['expected_error'],
        side_doubt=parts['side_doubt'],
        **{f'part_{name}': parts[name] for name in PARTS},
    )
    arrays = [*table.columns, *(as_column(extra[name], kind) for name, kind in LABEL_COLUMNS.items())]
    return pa.Table.from_arrays(arrays, schema=label_schema())


def reject_table(people: Annotations, reasons: np.ndarray, details: np.ndarray, quality: np.ndarray) -> pa.Table:
    """Rejected records as rows of :func:`reject_schema`; ``quality`` is NaN where it did not come to that."""
    columns = dict(
        id=record_ids(people),
        source=people.source,
        source_record=people.record,
        file_name=people.file_name,
        reason=reasons,
        detail=details,
        label_quality=quality,
        bbox=people.bbox,
        **_input_columns(people),
    )
    arrays = [as_column(columns[name], kind) for name, kind in _REJECT_COLUMNS.items()]
    return pa.Table.from_arrays(arrays, schema=reject_schema())


def _input_columns(people: Annotations) -> dict[str, np.ndarray]:
    return dict(
        keypoint_set=np.full(len(people), people.keypoint_set),
        input_keypoints=people.keypoints,
        input_visibility=people.visibility,
        input_scores=people.scores,
    )
