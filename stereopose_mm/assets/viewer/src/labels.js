// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// Labels that do not hide each other.

// Lower end of a label that shall stand at (x, y): higher where others, `[left, right, bottom]`, stand already.
export function liftLabel(taken, x, y, half, height) {
  for (let moved = true, tries = 0; moved && tries < 12; tries++) {
    moved = false;
    for (const [left, right, bottom] of taken) {
      if (x + half > left && x - half < right && Math.abs(bottom - y) < height) {
        y = bottom - height - 1;
        moved = true;
      }
    }
  }
  taken.push([x - half, x + half, y]);
  return y;
}
