# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Speed against what people use today, as ratios in one run on this machine.

search: the exact geometric search against the original release's grid scan.
lift:   lift_keypoints against MMPose's inference_pose_lifter_model with SimpleBaseline3D, and against the bare
        matrix products of our two networks; peak memory of a large job.
pairs:  training pairs made and encoded per second on one core.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from stereopose_mm.apis import init_lifter, lift_keypoints
from stereopose_mm.codecs import StereoPoseLifting
from stereopose_mm.datasets import MEASURED, CameraDistribution, PoseAugmentation, Proportions, make_pairs
from stereopose_mm.geometry import search_objective, search_root_depth
from stereopose_mm.models.layers import LinearUnit

MMPOSE_BASELINE = 'mmpose::body_3d_keypoint/image_pose_lift/h36m/image-pose-lift_tcn_8xb64-200e_h36m.py'


def seconds(function, repeats: int) -> float:
    """Median wall time of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def random_directions(num: int, generator: torch.Generator) -> torch.Tensor:
    """Bone directions of standing bodies with random limbs: the work does not depend on what the poses are."""
    right, left, up, down = [-1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]
    legs, spine = [right, down, down, left, down, down], [up, up, [0, 1.0, 0.3], up]
    base = torch.tensor([*legs, *spine, left, down, down, right, down, down])
    noisy = base + 0.4 * torch.randn(num, 16, 3, generator=generator)
    return noisy / noisy.norm(dim=-1, keepdim=True)


def release_grid_scan(pose_rel: np.ndarray, rays: np.ndarray) -> float:
    """Root depth as the original release finds it: every millimetre from 2.8 to 7.2 m, joint by joint in Python.

    Args:
        pose_rel: ``(17, 3)`` mm, relative to the root.
        rays: ``(17, 2)`` at z = 1.

    Returns:
        Root depth, mm.
    """
    coarse, placed = np.asmatrix(pose_rel.T.copy()), np.asmatrix(np.zeros((3, 17)))
    best, best_depth = float('inf'), 0
    for depth in range(2800, 7200):
        placed[2, :] = coarse[2, :] + depth
        for i in range(17):
            placed[0, i] = rays[i, 0] * placed[2, i]
            placed[1, i] = rays[i, 1] * placed[2, i]
        placed[:, :] -= placed[:, 0]
        total = 0.0
        for i in range(17):
            total += abs(np.sqrt((placed[0, i] - coarse[0, i]) ** 2 + (placed[1, i] - coarse[1, i]) ** 2))
        if total < best:
            best, best_depth = total, depth
    return best_depth


def bench_search(num: int, num_scanned: int) -> dict:
    """Exact search of ``num`` poses against the grid scan of ``num_scanned`` of them."""
    generator = torch.Generator().manual_seed(0)
    pairs = make_pairs(random_directions(num, generator), generator)
    root = pairs.pose_cam[:, :1]
    # A root between the release's bounds, so that both look for the same depths.
    shift = torch.rand(num, 1, generator=generator) * 3.4 + 3.3 - root[..., 2]
    pose_cam = pairs.pose_cam + torch.cat([torch.zeros(num, 2), shift], -1)[:, None]
    rays = pose_cam[..., :2] / pose_cam[..., 2:]
    coarse = pose_cam - pose_cam[:, :1] + 0.05 * torch.randn(pose_cam.shape, generator=generator)
    coarse[:, 0] = 0
    exact = seconds(lambda: search_root_depth(coarse, rays), 5) / num
    depth, _ = search_root_depth(coarse.double(), rays.double())
    start = time.perf_counter()
    scanned = [
        release_grid_scan(coarse[i].double().numpy() * 1e3, rays[i].double().numpy()) / 1e3 for i in range(num_scanned)
    ]
    scan = (time.perf_counter() - start) / num_scanned
    ours, theirs = (
        search_objective(d, coarse[:num_scanned].double(), rays[:num_scanned].double())
        for d in (depth[:num_scanned], torch.tensor(scanned, dtype=torch.float64))
    )
    return {
        'poses searched exactly / scanned': f'{num} / {num_scanned}',
        'exact search, µs a pose': exact * 1e6,
        "release's grid scan, ms a pose": scan * 1e3,
        'ratio': scan / exact,
        'largest objective above the grid, relative': float(((ours - theirs) / theirs).max()),
    }


def mmpose_baseline(width: int) -> torch.nn.Module:
    """MMPose's SimpleBaseline3D with our networks' width, as its own API makes it."""
    from mmengine.hub import get_config
    from mmpose.apis import init_model

    config = get_config(MMPOSE_BASELINE)
    config.model.backbone.stem_channels = config.model.head.in_channels = width
    return init_model(config, None, device='cpu')


def mmpose_inputs(keypoints: np.ndarray) -> list:
    """One frame of 2D results, as MMPose's demo passes them."""
    from mmengine.structures import InstanceData
    from mmpose.structures import PoseDataSample

    samples = []
    for i, pose in enumerate(keypoints):
        sample = PoseDataSample()
        x0, y0, x1, y1 = *pose.min(0), *pose.max(0)
        sample.pred_instances = InstanceData(
            keypoints=pose[None], keypoint_scores=np.ones((1, 17)), bboxes=np.array([[x0, y0, x1, y1]])
        )
        sample.gt_instances = InstanceData()
        sample.track_id = i
        samples.append(sample)
    return samples


def matrix_products_seconds(lifter, num: int, chunk: int, repeats: int) -> float:
    """Seconds a pose of the bare matrix products of both networks, chunked as the lifter chunks."""
    linears = [u[0] for u in lifter.modules() if isinstance(u, LinearUnit)]
    linears += [lifter.backbone.net.output, lifter.head.net.output]
    if lifter.backbone.flip_test:
        # The mirrored pose goes through the same networks.
        linears *= 2
    weights = [layer.weight.detach().t() for layer in linears]
    inputs = [torch.randn(chunk, weight.shape[0]) for weight in weights]

    def products():
        for _ in range(num // chunk):
            for x, weight in zip(inputs, weights, strict=True):
                x @ weight

    with torch.inference_mode():
        return seconds(products, repeats) / (num // chunk * chunk)


def bench_lift(num: int, num_mmpose: int, batch_mmpose: int, num_memory: int) -> dict:
    """``lift_keypoints`` against MMPose's inference of SimpleBaseline3D, and against bare matrix products."""
    from mmpose.apis import inference_pose_lifter_model

    generator = torch.Generator().manual_seed(0)
    pairs = make_pairs(random_directions(num, generator), generator)
    keypoints = pairs.keypoints.numpy()
    lifter = init_lifter()
    baseline = mmpose_baseline(lifter.cfg.model.head.width)
    ours = seconds(lambda: lift_keypoints(lifter, keypoints, camera=pairs.camera), 5) / num
    bare = matrix_products_seconds(lifter, num, 2048, 5)
    frames = [mmpose_inputs(keypoints[i : i + batch_mmpose]) for i in range(0, num_mmpose, batch_mmpose)]

    def run_mmpose():
        for frame in frames:
            inference_pose_lifter_model(baseline, [frame], with_track_id=True, image_size=(1920, 1080))

    mmpose = seconds(run_mmpose, 1) / num_mmpose
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    many = np.resize(keypoints, (num_memory, 17, 2))
    camera = pairs.camera[0]
    lift_keypoints(lifter, many, camera=camera)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        'lift_keypoints, poses/s': 1 / ours,
        f"MMPose's inference_pose_lifter_model, batches of {batch_mmpose}, poses/s": 1 / mmpose,
        'ratio': mmpose / ours,
        'bare matrix products, poses/s': 1 / bare,
        'share of the bare matrix products': bare / ours,
        f'peak memory with {num_memory} poses, MB': peak / 1024,
        'peak memory before, MB': before / 1024,
    }


def bench_pairs(batch: int) -> dict:
    """Pairs per second on one core, with everything that the default training config asks for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    codec, directions = StereoPoseLifting(), random_directions(batch, generator)
    cameras = CameraDistribution(wrong_focal_prob=0.25, wrong_focal=(0.5, 2.0))
    proportions = Proportions(bone_spread=0.06, body_spread=0.06, wide_share=0.25)
    noise = replace(MEASURED, clean_prob=0.65, truncate_prob=0.15)
    augmentation = PoseAugmentation(mix_prob=0.4, limb_turn_deg=10.0, limb_jitter_deg=6.0, tilt_deg=10.0)

    def make():
        pairs = make_pairs(directions, generator, proportions, cameras, noise, augmentation)
        codec.encode_batch(pairs.keypoints, pairs.keypoints_visible, pairs.camera, pairs.pose_cam)

    rate = batch / seconds(make, 20)
    torch.set_num_threads(threads)
    return {f'pairs made and encoded per second, one core, batches of {batch}': rate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', nargs='*', help='search, lift, pairs; default: all three')
    parser.add_argument('--small', action='store_true', help='sizes for a quick look; ratios are then rougher')
    parser.add_argument('--out', help='JSON file for the figures')
    args = parser.parse_args()
    small = args.small
    benches = {
        'search': lambda: bench_search(5_000 if small else 100_000, 1 if small else 20),
        'lift': lambda: bench_lift(*((4_096, 50, 50, 8_192) if small else (10_000, 10_000, 200, 400_000))),
        'pairs': lambda: bench_pairs(1024 if small else 4096),
    }
    unknown = set(args.what) - set(benches)
    if unknown:
        parser.error(f'unknown benchmark {sorted(unknown)[0]!r}: takes {", ".join(benches)}')
    results = {}
    for name in args.what or benches:
        results[name] = benches[name]()
        table = Table(title=f'{name} ({torch.get_num_threads()} threads)', title_justify='left')
        table.add_column('figure')
        table.add_column('value', justify='right')
        for key, value in results[name].items():
            table.add_row(key, value if isinstance(value, str) else f'{value:,.4g}' if value < 10 else f'{value:,.0f}')
        Console().print(table)
    if args.out:
        with open(args.out, 'w', encoding='utf-8') as file:
            json.dump(results, file, indent=2)


if __name__ == '__main__':
    main()
