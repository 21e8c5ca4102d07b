# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""From 2D annotations of people to a Wild-3D set: their poses in 3D, each with its quality."""

import argparse
import sys
from pathlib import Path

from _arguments import OneLineParser, count, degrees, existing_file, existing_path, pixels, run


def share(text):
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f'takes a number from 0 to 1, got {text}')
    return number


def parse_args(argv):
    parser = OneLineParser(
        description=__doc__,
        epilog='Interrupted or killed, the same command goes on where it was. Exit status: 0; 1 if --verify finds '
        'damage; 2 if an argument or a file cannot be used; 130 if interrupted.',
    )
    parser.add_argument(
        'annotations', nargs='*', type=existing_path, metavar='ANNOTATIONS',
        help='COCO, COCO-WholeBody, MPII, LSP, LSPET, AI Challenger, CrowdPose, PoseTrack18, OCHuman, HumanArt or '
        'Halpe annotations, or COCO results',
    )  # fmt: skip
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the set')
    parser.add_argument('--format', metavar='NAME', help='of the annotations (default: told from the content)')
    parser.add_argument(
        '--images', type=existing_path, metavar='DIR', help='folder of the images: EXIF data tell focal lengths, and '
        'people on images that are not there are rejected',
    )  # fmt: skip
    parser.add_argument('--config', type=existing_file, metavar='FILE', help='settings (configs/wild3d/*.py)')
    view = parser.add_argument_group('camera')
    view.add_argument(
        '--camera-prior', type=degrees, metavar='DEG', help='horizontal field of view, where none is told'
    )
    view.add_argument(
        '--camera', type=existing_file, metavar='FILE', help='the camera of all images: OpenCV YAML or JSON, MMPose '
        "pkl, COLMAP's cameras.txt",
    )  # fmt: skip
    view.add_argument('--camera-name', metavar='NAME', help='which camera of the file')
    view.add_argument('--no-exif', action='store_true', help='do not look for focal lengths in images')
    view.add_argument(
        '--image-size', nargs=2, type=pixels, metavar=('W', 'H'), help='of images of which no file tells it'
    )
    labels = parser.add_argument_group('set')
    labels.add_argument('--split', type=share, metavar='SHARE', help='part of the images for training (default: 0.8)')
    labels.add_argument('--shard-size', type=count, metavar='N', help='people labelled together (default: 4096)')
    labels.add_argument('--seed', type=int, metavar='N', help='of the noise that quality is told from (default: 0)')
    labels.add_argument('--json', action='store_true', help='write each split as COCO-format JSON too')
    labels.add_argument('--no-card', action='store_true', help='write no data card (README.md with plots)')
    labels.add_argument('--webdataset', metavar='DIR', help='also write tar shards with the images there')
    running = parser.add_argument_group('running')
    running.add_argument('--engine', choices=('local', 'ray'), default='local', help='default: %(default)s')
    running.add_argument('--workers', type=count, metavar='N', help='processes (default: one for each core)')
    running.add_argument('--address', metavar='ADDR', help='of a Ray cluster: auto, or host:port (default: start Ray)')
    again = running.add_mutually_exclusive_group()
    again.add_argument('--resume', action='store_true', help='go on with an interrupted run (the default)')
    again.add_argument('--restart', action='store_true', help='delete what an earlier run left')
    running.add_argument('--dry-run', action='store_true', help='tell what would be done, with time and size')
    running.add_argument('--verify', action='store_true', help='check the set in --out instead of making it')
    args = parser.parse_args(argv)
    if args.verify == bool(args.annotations):
        parser.error('takes annotation files, or --verify')
    if args.webdataset and not (args.images and Path(args.images).is_dir()):
        parser.error('argument --webdataset: takes --images, their folder')
    if args.address and args.engine != 'ray':
        parser.error('argument --address: takes --engine ray')
    return args


def make_config(args):
    from stereopose_mm.apis.camera_files import read_camera
    from stereopose_mm.labeling import LabelConfig, load_label_config

    config = load_label_config(args.config) if args.config else LabelConfig()
    options = dict(
        fov_deg=args.camera_prior,
        exif=False if args.no_exif else None,
        image_size=args.image_size and tuple(args.image_size),
        given=args.camera and read_camera(args.camera, args.camera_name),
        train_share=args.split,
        shard_size=args.shard_size,
        seed=args.seed,
    )
    return config.with_options(**{name: value for name, value in options.items() if value is not None})


def generate(args):
    # Only now: torch and MMPose take seconds to load.
    from stereopose_mm.labeling import (
        generate_labels,
        plan_labels,
        verify_labels,
        write_data_card,
        write_webdataset,
    )

    if args.verify:
        return show_damage(args.out, verify_labels(args.out))
    given = (args.annotations, args.out, make_config(args), args.images, args.format)
    if args.dry_run:
        return show_plan(args, plan_labels(*given, args.workers))
    done = generate_labels(
        *given, args.engine, args.workers, args.address, write_json=args.json, restart=args.restart
    )  # fmt: skip
    show_summary(done)
    images = args.images if args.images and Path(args.images).is_dir() else None
    if not args.no_card:
        print(f'data card:    {write_data_card(args.out, images)}')
    if args.webdataset:
        print(f'webdataset:   {len(write_webdataset(args.out, args.webdataset, images))} shards in {args.webdataset}')


def show_damage(out, problems):
    if problems:
        print('\n'.join(problems), file=sys.stderr)
        sys.exit(1)
    print(f'{out}: whole')


def show_plan(args, plan):
    for entry in plan.inputs:
        print(f'{entry["name"]}: {entry["format"]}, {entry["people"]} people ({entry["unmarked"]} more unmarked)')
    print(f'would write:  {plan.shards} shards of labels and rejects to {args.out}')
    print(f'kept:         about {plan.kept:.0%} of {plan.people} people')
    print(f'rate:         {plan.rate:,.0f} people a second by one process')
    print(f'time:         about {plan.seconds:,.0f} s with {plan.workers} processes')
    print(f'size:         about {plan.bytes / 1e6:,.1f} MB')


def show_summary(done):
    manifest = done.manifest
    if done.resumed:
        print(f'resumed:      {done.resumed} of {done.shards} shards were there')
    print(f'people:       {manifest["people"]} in {done.seconds:,.1f} s')
    print('labels:       ' + ', '.join(f'{rows} {split}' for split, rows in manifest['labels'].items()))
    print(f'rejected:     {sum(manifest["rejects"].values())}')
    for reason, rows in sorted(manifest['rejects'].items(), key=lambda entry: -entry[1]):
        print(f'  {rows:>8} {reason}')
    print(f'wrote:        {done.out}')


def main(argv=None):
    return run(generate, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
