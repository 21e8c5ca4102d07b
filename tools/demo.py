# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""From a photo, a folder, a video, a webcam or a stream to tracked metric 3D people."""

import argparse
import os
import sys

from _arguments import OneLineParser, add_camera, add_keypoints_meaning, add_lifter, count, existing_path, run

SAVE = ('video', 'json', 'npz', 'bvh', 'gltf', 'html')


def one_or_two(parser, flag, values):
    if values is None:
        return None, None
    if len(values) > 2:
        parser.error(f'argument {flag}: takes a config or alias, and its checkpoint')
    return values[0], values[1] if len(values) == 2 else None


def kinds(text):
    names = [name for name in text.split(',') if name]
    unknown = [name for name in names if name not in SAVE]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f'takes some of {",".join(SAVE)}, got {text!r}')
    return names


def parse_args(argv):
    parser = OneLineParser(
        description=__doc__,
        epilog='Interrupted, the same command goes on where it was. Exit status: 0; 2 if an argument or a file cannot '
        'be used; 130 if interrupted.',
    )
    parser.add_argument('source', metavar='INPUT', help='image, folder of images, video, webcam:0, or a URL')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write to')
    parser.add_argument(
        '--save',
        type=kinds,
        default=['video', 'json', 'npz'],
        metavar='KINDS',
        help=f'what to write, of {",".join(SAVE)} (default: video,json,npz); for photographs, video means pictures',
    )
    add_people(parser.add_argument_group('people in 2D'))
    view = parser.add_argument_group('camera')
    add_camera(view, 'horizontal field of view (default: from a photograph, or a guess)')
    view.add_argument('--ground', action='store_true', help='world coordinates on the ground, from the feet')
    add_frames(parser.add_argument_group('frames'))
    running = parser.add_argument_group('running')
    add_lifter(running)
    running.add_argument('--half', action='store_true', help='2D networks in half precision, on a GPU')
    running.add_argument('--batch-size', type=count, default=8, metavar='N', help='frames that 2D networks see at once')
    running.add_argument('--restart', action='store_true', help='do not go on with an interrupted run')
    args = vars(parser.parse_args(argv))
    for flag in ('det', 'pose2d'):
        args[flag], args[f'{flag}_weights'] = one_or_two(parser, f'--{flag}', args[flag])
    return args


def add_people(group):
    group.add_argument(
        '--det', nargs='+', metavar='CFG', help='person detector of MMDet: config or alias, and checkpoint; whole_image'
    )
    group.add_argument(
        '--pose2d', nargs='+', metavar='CFG', help='2D model of MMPose: config or alias, and checkpoint; default: human'
    )
    group.add_argument(
        '--keypoints',
        type=existing_path,
        metavar='FILE',
        help='2D keypoints instead: COCO, OpenPose, AlphaPose, MMPose or Ultralytics files, or NPZ',
    )
    group.add_argument('--keypoint-format', metavar='NAME', help='their format (default: told from the content)')
    add_keypoints_meaning(group, ', where their file does not tell')


def add_frames(group):
    group.add_argument('--every', type=count, default=1, metavar='N', help='take each N-th frame')
    group.add_argument('--max-frames', type=count, metavar='N', help='stop after N frames')
    group.add_argument('--free-bones', action='store_true', help='let bone lengths change from frame to frame')
    group.add_argument('--smooth', action='store_true', help='smooth joints over time (One-Euro filter)')


def demo(args):
    # Only now: torch and MMPose take seconds to load.
    from stereopose_mm.apis import lift_clip

    done = lift_clip(**args)
    if done.resumed_at:
        print(f'resumed:            after {done.resumed_at} frames')
    print(f'frames:             {done.num_frames}')
    print(f'people:             {done.num_people} ({done.num_lifted} of {done.num_poses} poses lifted)')
    if done.num_lifted:
        print(f'reprojection error: {done.reprojection_error:.2g} px (mean)')
    print(f'camera:             {done.camera}')
    for note in done.notes:
        print(f'note:               {note}')
    for file in done.files[:12]:
        print(f'wrote:              {file} ({os.path.getsize(file) / 1e6:.2f} MB)')
    if len(done.files) > 12:
        print(f'wrote:              {len(done.files) - 12} more files in {args["out"]}')
    for warning in done.warnings:
        print(f'warning: {warning}', file=sys.stderr)


def main(argv=None):
    return run(demo, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
