# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Export of a clip as one binary glTF 2.0 file: people that move, the camera, the ground."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..geometry import Camera, PoseSequence
from ..geometry.joint_rotations import RIG, rest_offsets, rest_pose
from ..version import __version__
from .glb_file import GlbFile
from .joint_rotations import Y_UP, ExportedPerson, PersonMotion, later_times
from .lift_picture import person_colour
from .rig_body import rig_body

# Seconds for which a person may be lost from sight and stay shown, moving on between the two poses.
_BRIDGED = 0.5
_NEAR = 0.05
# Colours of the ground's tiles, and metres of ground beyond the people.
_TILES = ((60, 52, 46), (76, 67, 60))
_MARGIN, _MOST_TILES = 1.5, 40


def write_gltf(path: str | Path, sequence: PoseSequence) -> list[ExportedPerson]:
    """Write a clip's people, camera and ground as one GLB file.

    Metres, y up, the clip's own times in seconds. One animation moves everybody:

    - A node ``Person 3`` for track 3 holds the nodes of :data:`~..geometry.joint_rotations.RIG` with the person's
      median bone lengths; the method for rotations stands there. Keys are at the frames that have a pose. The T-pose
      is the skin's bind pose, the first pose that of viewers without animation.
    - Around it a doll in the person's colour, skinned to the rig.
    - Who has not come yet, has left or is out of sight for more than 0.5 s has scale 0, in steps, which is glTF's own
      way to hide. In shorter gaps they move on from pose to pose.
    - A camera with the first frame's field of view stands where the clip's camera is. glTF knows no principal point
      off the centre and no distortion: the camera's ``extras`` hold all numbers.
    - If the clip's ground is known, tiles at y = 0.

    Args:
        path: The file, ``….glb``.
        sequence: The clip, of one frame at least. People without a valid pose are left out.

    Returns:
        What was written of each person.

    Raises:
        ValueError: If the clip has no frames, or a person has two poses on one frame.
    """
    if not sequence.num_frames:
        raise ValueError('sequence: takes a clip of one frame at least, got none')
    shown = [PersonMotion.from_sequence(sequence, track) for track in np.unique(sequence.track[sequence.valid])]
    glb = GlbFile(f'StereoPose-MM {__version__}')
    roots = [_add_camera(glb, sequence)]
    if sequence.grounded:
        roots.append(_add_ground(glb, shown))
    animation = {'name': 'clip', 'samplers': [], 'channels': []}
    reports = []
    for motion in shown:
        nodes = _add_rig(glb, motion)
        roots += [nodes[0] - 1, _add_body(glb, motion, nodes)]
        _animate_rig(glb, animation, motion, nodes)
        reports.append(_animate_visibility(glb, animation, motion, sequence, nodes[0] - 1))
    if shown:
        glb.add('animations', **animation)
    glb.document['scene'] = glb.add('scenes', name='clip', nodes=roots)
    glb.write(path)
    return reports


def _add_camera(glb: GlbFile, sequence: PoseSequence) -> int:
    camera: Camera = sequence.cameras[0]
    fx, fy, cx, cy, width, height = (
        float(v) for v in (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
    )
    lens = [] if camera.distortion is None else camera.distortion.reshape(-1).tolist()
    # Pixels need not be square: the ratio is that of the fields of view.
    view = {'yfov': 2 * math.atan(height / 2 / fy), 'aspectRatio': width / fx / (height / fy), 'znear': _NEAR}
    numbers = {'fx': fx, 'fy': fy, 'cx': cx, 'cy': cy, 'width': width, 'height': height, 'distortion': lens}
    index = glb.add('cameras', name='Camera', type='perspective', perspective=view, extras=numbers)
    # Its camera looks along -z, y up; the clip's along z, y down.
    turn = Rotation.from_matrix(Y_UP @ sequence.world_rotation @ np.diag([1.0, -1.0, -1.0]))
    place = Y_UP @ sequence.world_translation
    return glb.add('nodes', name='Camera', camera=index, translation=place.tolist(), rotation=turn.as_quat().tolist())


def _add_ground(glb: GlbFile, shown: list[PersonMotion]) -> int:
    """Square tiles of two colours under all people."""
    places = np.concatenate([motion.root[:, [0, 2]] for motion in shown] or [np.zeros((1, 2))])
    low, high = places.min(0) - _MARGIN, places.max(0) + _MARGIN
    step = 0.5 * 2.0 ** max(0, math.ceil(math.log2((high - low).max() / _MOST_TILES / 0.5)))
    first, last = np.floor(low / step).astype(int), np.ceil(high / step).astype(int)
    tiles = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(first, last, strict=True))), -1).reshape(-1, 2)
    primitives = []
    for parity, colour in enumerate(_TILES):
        chosen = tiles[tiles.sum(1) % 2 == parity]
        corners = (chosen[:, None] + [[0, 0], [0, 1], [1, 1], [1, 0]]) * step
        points = np.zeros((len(chosen) * 4, 3), np.float32)
        points[:, [0, 2]] = corners.reshape(-1, 2)
        triangles = np.arange(len(chosen), dtype=np.uint32)[:, None, None] * 4 + [[0, 1, 2], [0, 2, 3]]
        material = _add_material(glb, f'Ground {parity + 1}', colour, doubleSided=True)
        normals = np.tile(np.float32([0, 1, 0]), (len(points), 1))
        primitives.append(glb.add_triangles(points, normals, triangles.astype(np.uint32), material))
    return glb.add('nodes', name='Ground', mesh=glb.add('meshes', name='Ground', primitives=primitives))


def _add_material(glb: GlbFile, name: str, bgr: tuple[int, int, int], **more) -> int:
    # Colours are linear there: sRGB without its curve (IEC 61966-2-1).
    srgb = np.array(bgr[::-1]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    surface = {'baseColorFactor': [*linear.tolist(), 1.0], 'metallicFactor': 0.0, 'roughnessFactor': 0.6}
    return glb.add('materials', name=name, pbrMetallicRoughness=surface, **more)


def _add_rig(glb: GlbFile, motion: PersonMotion) -> list[int]:
    """Nodes of a person, in the order of the rig; the one before them holds them all."""
    offsets = rest_offsets(motion.lengths)
    offsets[0] = motion.root[0]
    start = len(glb.document['nodes']) + 1
    glb.add('nodes', name=f'Person {motion.track}', children=[start], extras={'track': motion.track})
    for index, node in enumerate(RIG):
        place = {'translation': offsets[index].tolist(), 'rotation': motion.rotations[0, index].tolist()}
        children = [start + child for child, other in enumerate(RIG) if other.parent == index]
        glb.add('nodes', name=node.name, **place, **({'children': children} if children else {}))
    return list(range(start, start + len(RIG)))


def _add_body(glb: GlbFile, motion: PersonMotion, nodes: list[int]) -> int:
    body = rig_body(motion.lengths)
    name = f'Person {motion.track} body'
    material = _add_material(glb, name, person_colour(motion.track))
    primitive = glb.add_triangles(body.points, body.normals, body.triangles, material, body.nodes)
    inverse_bind = np.tile(np.eye(4, dtype=np.float32), (len(RIG), 1, 1))
    # By columns: the last row is the translation.
    inverse_bind[:, 3, :3] = -rest_pose(motion.lengths)[[node.joint for node in RIG]]
    skin = glb.add('skins', joints=nodes, skeleton=nodes[0], inverseBindMatrices=glb.add_array(inverse_bind))
    return glb.add('nodes', name=name, mesh=glb.add('meshes', name=name, primitives=[primitive]), skin=skin)


def _add_channel(animation: dict, node: int, path: str, times: int, values: int, interpolation: str) -> None:
    animation['samplers'].append({'input': times, 'output': values, 'interpolation': interpolation})
    sampler = len(animation['samplers']) - 1
    animation['channels'].append({'sampler': sampler, 'target': {'node': node, 'path': path}})


def _animate_rig(glb: GlbFile, animation: dict, motion: PersonMotion, nodes: list[int]) -> None:
    times = glb.add_array(motion.times.astype(np.float32), bounds=True)
    root = glb.add_array(motion.root.astype(np.float32))
    _add_channel(animation, nodes[0], 'translation', times, root, 'LINEAR')
    for index, node in enumerate(nodes):
        # The last nodes of the chains never turn.
        if any(other.parent == index for other in RIG):
            turns = glb.add_array(motion.rotations[:, index].astype(np.float32))
            _add_channel(animation, node, 'rotation', times, turns, 'LINEAR')


def _animate_visibility(
    glb: GlbFile, animation: dict, motion: PersonMotion, sequence: PoseSequence, node: int
) -> ExportedPerson:
    """Scale a person's node to 0 while they are away."""
    times = sequence.frame_times[later_times(sequence.frame_times)]
    away = (np.diff(motion.frame) > 1) & (np.diff(motion.times) > _BRIDGED)
    starts = motion.times[np.concatenate([[True], away])]
    ends = motion.times[np.concatenate([away, [True]])]
    run = np.searchsorted(starts, times, side='right') - 1
    visible = (run >= 0) & (times <= ends[np.maximum(run, 0)])
    if not visible.all():
        # The node's own scale stays 1: Blender divides by it.
        keys = np.flatnonzero(np.diff(visible, prepend=~visible[0]))
        scale = np.repeat(visible[keys, None], 3, 1).astype(np.float32)
        times_index = glb.add_array(times[keys].astype(np.float32), bounds=True)
        _add_channel(animation, node, 'scale', times_index, glb.add_array(scale), 'STEP')
    count = int(visible.sum())
    return motion.report(sequence, count, count - int(np.isin(times, motion.times).sum()))
