# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Tests of the glTF export: parsed by pygltflib, posed by SciPy."""

from dataclasses import replace

import numpy as np
import pygltflib
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp

from stereopose_mm.geometry import Camera
from stereopose_mm.geometry.joint_rotations import RIG, rest_pose
from stereopose_mm.visualization.gltf import write_gltf
from stereopose_mm.visualization.joint_rotations import Y_UP
from stereopose_mm.visualization.rig_body import rig_body

from ..made_sequence import make_sequence

TYPES = {5121: 'u1', 5123: '<u2', 5125: '<u4', 5126: '<f4'}
WIDTHS = {'SCALAR': (), 'VEC3': (3,), 'VEC4': (4,), 'MAT4': (4, 4)}


class Reader:
    """A GLB file and its nodes at any time."""

    def __init__(self, path):
        self.gltf = pygltflib.GLTF2().load(str(path))
        self.blob = self.gltf.binary_blob()
        self.parents = {child: k for k, node in enumerate(self.gltf.nodes) for child in node.children or []}
        self.channels = {}
        for animation in self.gltf.animations:
            for channel in animation.channels:
                sampler = animation.samplers[channel.sampler]
                values = self.array(sampler.input), self.array(sampler.output), sampler.interpolation
                assert (channel.target.node, channel.target.path) not in self.channels
                self.channels[channel.target.node, channel.target.path] = values

    def array(self, index):
        accessor = self.gltf.accessors[index]
        view = self.gltf.bufferViews[accessor.bufferView]
        kind, shape = np.dtype(TYPES[accessor.componentType]), (accessor.count, *WIDTHS[accessor.type])
        start = view.byteOffset + (accessor.byteOffset or 0)
        assert start % kind.itemsize == 0 and view.byteLength >= np.prod(shape) * kind.itemsize
        return np.frombuffer(self.blob, kind, int(np.prod(shape)), start).reshape(shape)

    def value(self, node, path, time):
        rest = {'translation': [0, 0, 0], 'rotation': [0, 0, 0, 1], 'scale': [1, 1, 1]}[path]
        if (node, path) not in self.channels:
            return np.array(getattr(self.gltf.nodes[node], path) or rest, float)
        times, values, interpolation = self.channels[node, path]
        time = np.clip(np.float32(time), times[0], times[-1])
        if interpolation == 'STEP':
            return values[np.searchsorted(times, time, side='right') - 1]
        if len(times) == 1:
            return values[0]
        if path == 'rotation':
            return Slerp(times, Rotation.from_quat(values))(time).as_quat()
        return np.array([np.interp(time, times, column) for column in values.T])

    def matrix(self, node, time):
        """``(4, 4)`` from a node's frame to the scene's."""
        local = np.eye(4)
        turn = Rotation.from_quat(self.value(node, 'rotation', time)).as_matrix()
        local[:3, :3] = turn * self.value(node, 'scale', time)
        local[:3, 3] = self.value(node, 'translation', time)
        parent = self.parents.get(node)
        return local if parent is None else self.matrix(parent, time) @ local

    def find(self, name):
        (index,) = (k for k, node in enumerate(self.gltf.nodes) if node.name == name)
        return index

    def skin(self, track):
        body = self.gltf.nodes[self.find(f'Person {track} body')]
        return self.gltf.skins[body.skin], self.gltf.meshes[body.mesh].primitives[0].attributes

    def keypoints(self, track, time):
        """H36M-17 ``(17, 3)`` metres, y up."""
        points = np.empty((17, 3))
        for node in self.skin(track)[0].joints:
            (joint,) = (rig.joint for rig in RIG if rig.name == self.gltf.nodes[node].name)
            points[joint] = self.matrix(node, time)[:3, 3]
        return points


@pytest.fixture(scope='module')
def sequence():
    return make_sequence(num_people=3, num_frames=40)


@pytest.fixture(scope='module')
def whole(sequence, tmp_path_factory):
    path = tmp_path_factory.mktemp('gltf') / 'clip.glb'
    grounded = replace(sequence, grounded=True, world_translation=np.array([0.3, -0.2, 1.5]))
    reports = write_gltf(path, grounded)
    return grounded, Reader(path), reports


def wanted_keypoints(sequence, track):
    return sequence.select(sequence.track == track).keypoints_world.astype(float) @ Y_UP.T


def test_joints_come_back_to_a_micrometre(whole):
    sequence, reader, reports = whole
    for track, report in enumerate(reports):
        assert (report.track, report.first_frame, report.frames, report.interpolated) == (track, 0, 40, 0)
        assert report.error_max < 1e-5
        wanted = wanted_keypoints(sequence, track)
        for frame in (0, 7, 23, 39):
            found = reader.keypoints(track, sequence.frame_times[frame])
            assert np.abs(found - wanted[frame]).max() < 1e-5


def test_between_frames_the_body_moves_on(whole):
    sequence, reader, _ = whole
    wanted = wanted_keypoints(sequence, 1)
    halfway = reader.keypoints(1, (sequence.frame_times[9] + sequence.frame_times[10]) / 2)
    assert np.abs(halfway - (wanted[9] + wanted[10]) / 2).max() < 5e-3


def test_file_keeps_the_rules_of_gltf(whole):
    _, reader, _ = whole
    gltf = reader.gltf
    assert gltf.asset.version == '2.0'
    assert gltf.buffers[0].byteLength == len(reader.blob)
    for index, accessor in enumerate(gltf.accessors):
        values = reader.array(index).reshape(accessor.count, -1)
        assert np.isfinite(values).all()
        if accessor.min:
            np.testing.assert_array_equal(values.min(0), accessor.min)
            np.testing.assert_array_equal(values.max(0), accessor.max)
    for animation in gltf.animations:
        for sampler in animation.samplers:
            times = reader.array(sampler.input)
            assert gltf.accessors[sampler.input].min == [times[0]]
            assert (np.diff(times) > 0).all() and len(times) == len(reader.array(sampler.output))
    for _, values, interpolation in (c for (_, path), c in reader.channels.items() if path == 'rotation'):
        assert interpolation == 'LINEAR'
        np.testing.assert_allclose(np.linalg.norm(values, axis=-1), 1, atol=1e-6)
    # Nodes are a forest, and the scene holds its roots.
    assert sorted(gltf.scenes[0].nodes) == [k for k in range(len(gltf.nodes)) if k not in reader.parents]
    for mesh in gltf.meshes:
        for primitive in mesh.primitives:
            assert gltf.accessors[primitive.attributes.POSITION].min is not None
            assert reader.array(primitive.indices).max() < gltf.accessors[primitive.attributes.POSITION].count


def test_bodies_follow_their_bones(whole):
    sequence, reader, _ = whole
    skin, attributes = reader.skin(2)
    points, joints = reader.array(attributes.POSITION), reader.array(attributes.JOINTS_0)[:, 0]
    np.testing.assert_array_equal(reader.array(attributes.WEIGHTS_0), [[255, 0, 0, 0]] * len(points))
    inverse_bind = reader.array(skin.inverseBindMatrices).swapaxes(1, 2)
    frame = 11
    world = np.stack([reader.matrix(node, sequence.frame_times[frame]) for node in skin.joints])
    moved = np.einsum('vij,vj->vi', (world @ inverse_bind)[joints], np.insert(points, 3, 1, axis=1))[:, :3]
    pose = wanted_keypoints(sequence, 2)[frame]
    for index, node in enumerate(RIG):
        if node.end >= 0:
            start, end = pose[node.joint], pose[node.end]
            mine = moved[joints == index]
            along = ((mine - start) @ (end - start) / ((end - start) ** 2).sum()).clip(0, 1)
            apart = np.linalg.norm(mine - start - along[:, None] * (end - start), axis=-1)
            assert apart.max() < 0.17
            # Around the bone on all sides.
            np.testing.assert_allclose(mine.mean(0), (start + end) / 2, atol=0.06)
    material = reader.gltf.materials[reader.gltf.meshes[0].primitives[0].material]
    assert material.pbrMetallicRoughness.metallicFactor == 0
    colours = [tuple(m.pbrMetallicRoughness.baseColorFactor) for m in reader.gltf.materials if 'body' in m.name]
    assert len(set(colours)) == 3


def test_body_parts_are_closed_and_face_outwards():
    lengths = np.full(16, 0.25)
    body = rig_body(lengths)
    np.testing.assert_allclose(np.linalg.norm(body.normals, axis=-1), 1, atol=1e-5)
    corners = body.points[body.triangles].astype(float)
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((area * body.normals[body.triangles].mean(1)).sum(-1) >= 0).all()
    joints = rest_pose(lengths)
    for index, node in enumerate(RIG):
        mine = body.nodes[body.triangles[:, 0]] == index
        assert mine.any() == (node.end >= 0)
        if mine.any():
            # Areas of a closed surface cancel out; their moment is the volume.
            np.testing.assert_allclose(area[mine].sum(0), 0, atol=1e-6)
            volume = (area[mine] * (corners[mine, 0] - joints[node.joint])).sum() / 6
            assert volume > 0.2 * 0.25 * np.pi * 0.027**2


def test_camera_sees_what_the_clip_saw(whole):
    sequence, reader, _ = whole
    node = reader.find('Camera')
    view = reader.gltf.cameras[reader.gltf.nodes[node].camera].perspective
    seen = wanted_keypoints(sequence, 0)[5]
    local = np.linalg.solve(reader.matrix(node, 0), np.insert(seen, 3, 1, axis=1).T)[:3]
    up = local[1] / -local[2] / np.tan(view.yfov / 2)
    right = local[0] / -local[2] / np.tan(view.yfov / 2) / view.aspectRatio
    pixels = np.stack([(1 + right) * 1280 / 2, (1 - up) * 720 / 2], -1)
    wanted = sequence.keypoints_2d[(sequence.track == 0) & (sequence.frame == 5)][0]
    np.testing.assert_allclose(pixels, wanted, atol=0.01)


def test_camera_extras_hold_what_gltf_cannot(sequence, tmp_path):
    camera = Camera(900.0, 800.0, 600.0, 300.0, 1280, 720, torch.tensor([0.1, 0.0, 0.0, 0.01, 0.0]))
    write_gltf(tmp_path / 'clip.glb', replace(sequence, cameras=camera.expand(40)))
    camera = Reader(tmp_path / 'clip.glb').gltf.cameras[0]
    assert camera.perspective.aspectRatio == pytest.approx(1280 / 900 / (720 / 800))
    numbers = dict(fx=900, fy=800, cx=600, cy=300, width=1280, height=720)
    assert {name: camera.extras[name] for name in numbers} == numbers
    assert camera.extras['distortion'] == pytest.approx([0.1, 0, 0, 0.01, 0])


def test_ground_lies_under_the_people_if_it_is_known(whole, sequence, tmp_path):
    clip, reader, _ = whole
    points = [
        reader.array(p.attributes.POSITION)
        for p in reader.gltf.meshes[reader.gltf.nodes[reader.find('Ground')].mesh].primitives
    ]
    points = np.concatenate(points)
    feet = clip.keypoints_world.astype(float).reshape(-1, 3) @ Y_UP.T
    assert (points[:, 1] == 0).all()
    assert (points.min(0)[[0, 2]] < feet.min(0)[[0, 2]]).all() and (points.max(0)[[0, 2]] > feet.max(0)[[0, 2]]).all()
    write_gltf(tmp_path / 'clip.glb', sequence)
    assert 'Ground' not in [node.name for node in Reader(tmp_path / 'clip.glb').gltf.nodes]


def test_people_hide_while_they_are_away(sequence, tmp_path):
    late = (sequence.track == 0) & (sequence.frame < 10)
    early = (sequence.track == 1) & (sequence.frame > 30)
    away = (sequence.track == 2) & (((sequence.frame > 3) & (sequence.frame < 9)) | (sequence.frame > 15))
    away &= sequence.frame != 35
    reports = write_gltf(tmp_path / 'clip.glb', sequence.select(~(late | early | away)))
    reader = Reader(tmp_path / 'clip.glb')
    shown = {0: range(10, 40), 1: range(31), 2: [*range(16), 35]}
    for track, frames in shown.items():
        node = reader.find(f'Person {track}')
        assert reader.gltf.nodes[node].scale in (None, [1.0, 1.0, 1.0])
        scales = [reader.value(node, 'scale', time).tolist() for time in sequence.frame_times]
        assert scales == [[1.0 if frame in frames else 0.0] * 3 for frame in range(40)]
    assert [(r.first_frame, r.frames, r.interpolated) for r in reports] == [(10, 30, 0), (0, 31, 0), (0, 17, 5)]
    wanted = wanted_keypoints(sequence, 2)
    np.testing.assert_allclose(reader.keypoints(2, sequence.frame_times[35]), wanted[35], atol=1e-5)


def test_changing_bones_are_told(tmp_path):
    noisy = make_sequence(num_people=1, num_frames=12, noise=0.02)
    (report,) = write_gltf(tmp_path / 'clip.glb', noisy)
    reader, wanted = Reader(tmp_path / 'clip.glb'), wanted_keypoints(noisy, 0)
    found = np.stack([reader.keypoints(0, time) for time in noisy.frame_times])
    error = np.linalg.norm(found - wanted, axis=-1)
    assert error.max() == pytest.approx(report.error_max, abs=1e-5)
    assert error[:, 1:].mean() == pytest.approx(report.error_mean, abs=1e-5)


def test_odd_clips_are_taken(sequence, tmp_path):
    path = tmp_path / 'clip.glb'
    assert write_gltf(path, sequence.select(slice(0, 0))) == []
    assert [node.name for node in Reader(path).gltf.nodes] == ['Camera']
    lost = replace(sequence, valid=sequence.track == 1)
    assert [report.track for report in write_gltf(path, lost)] == [1]
    photograph = make_sequence(num_people=2, num_frames=1)
    assert [report.frames for report in write_gltf(path, photograph)] == [1, 1]
    found = Reader(path).keypoints(1, 0.0)
    np.testing.assert_allclose(found, wanted_keypoints(photograph, 1)[0], atol=1e-5)
    times = sequence.frame_times.copy()
    times[8:10] = times[7]
    write_gltf(path, replace(sequence, frame_times=times))
    assert all((np.diff(times) > 0).all() for times, _, _ in Reader(path).channels.values())


def test_unusable_clips_leave_the_file_as_it_was(sequence, tmp_path):
    path = tmp_path / 'clip.glb'
    path.write_text('old')
    with pytest.raises(ValueError, match='one frame at least'):
        write_gltf(path, sequence.select_frames(slice(0, 0)))
    with pytest.raises(ValueError, match='two poses on frame 0'):
        write_gltf(path, replace(sequence, track=np.zeros_like(sequence.track)))
    assert path.read_text() == 'old'
    assert [file.name for file in tmp_path.iterdir()] == ['clip.glb']
