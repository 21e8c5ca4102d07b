# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
"""Turn a training checkpoint into one to ship: weights and dataset information only, with its config beside it."""

import argparse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint that training wrote, or its folder')
    parser.add_argument('--out', required=True, help='file to write, .pth; the config goes beside it as .py')
    args = parser.parse_args()
    from stereopose_mm.engine import publish

    size = publish(args.config, args.checkpoint, args.out)
    print(f'{args.out}: {size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
