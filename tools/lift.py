# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Lift the 2D keypoints of any detector to metric 3D poses, and draw them."""

import sys

from _arguments import OneLineParser, add_camera, add_keypoints_meaning, add_lifter, existing_file, pixels, run


def parse_args(argv):
    parser = OneLineParser(
        description=__doc__,
        epilog='Writes poses3d.json, poses3d.npz and pictures/ to the output folder. Exit status: 0, or 2 if an '
        'argument or a file cannot be used; then nothing is written.',
    )
    parser.add_argument(
        'detections',
        type=existing_file,
        metavar='DETECTIONS',
        help='COCO results or annotations (.json), or arrays (.npz: keypoints, scores, image_id, file_name)',
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--images', metavar='DIR', help='folder of the images')
    source.add_argument(
        '--image-size', nargs=2, type=pixels, metavar=('W', 'H'), help='size of the images, where there are none'
    )
    add_camera(parser, 'horizontal field of view (default: from EXIF data, or a guess)')
    add_keypoints_meaning(parser)
    add_lifter(parser)
    parser.add_argument('--no-pictures', dest='pictures', action='store_false', help='write the poses only')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write to')
    return parser.parse_args(argv)


def lift(args):
    # Only now: torch and MMPose take seconds to load.
    from stereopose_mm.apis import lift_detections

    done = lift_detections(**vars(args))
    left_out = f'{done.num_empty} without keypoints, {done.num_other} of other categories'
    print(f'images:             {done.num_images}')
    print(f'people:             {done.num_people} (left out: {left_out})')
    print(f'lifted:             {done.num_lifted}')
    if done.num_lifted:
        print(f'reprojection error: {done.reprojection_error:.2g} px (mean)')
    print(f'results:            {done.out}')


def main(argv=None):
    return run(lift, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
