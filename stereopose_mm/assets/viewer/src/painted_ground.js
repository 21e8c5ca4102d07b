// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// The ground as the painter paints it: kept while it stands still.

import { BACKGROUND, GROUND, GROUND_LINE } from './palette.js';

// Steps in which the ground fades, and points of a ring around it.
const [RINGS, CORNERS] = [9, 40];
const PIECES = 12;
const FADES = 6;

const smoothstep = (low, high, x) => {
  const t = Math.max(0, Math.min(1, (x - low) / (high - low)));
  return t * t * (3 - 2 * t);
};
const fadeAt = (share) => 1 - smoothstep(0.25, 1, share);
const css = (colour) => `rgb(${colour.map(Math.round).join()})`;
const mix = (a, b, share) => a.map((value, i) => value + share * (b[i] - value));

export class PaintedGround {
  constructor() {
    this.canvas = document.createElement('canvas');
    this.context = this.canvas.getContext('2d', { willReadFrequently: true });
    this.seen = this.kept = null;
  }

  draw(context, lens, ground) {
    if (!ground.mesh.visible) return;
    const { centre, reach, strength, filled } = ground.uniforms;
    const { x, y, z } = centre.value;
    const state = [...lens.matrix.elements, lens.width, lens.height, x, y, z, reach.value, strength.value, filled.value].join();
    const paint = (onto) => {
      if (filled.value) this.#fill(onto, lens, [x, y, z], reach.value, strength.value * filled.value);
      this.#drawLines(onto, lens, [x, y, z], reach.value, strength.value, filled.value ? 0.9 : 0.6);
    };
    // Kept when it is wanted again: while the view moves, keeping it would only cost.
    if (state === this.seen && state !== this.kept) {
      [this.canvas.width, this.canvas.height] = [lens.width, lens.height];
      paint(this.context);
      this.kept = state;
    }
    this.seen = state;
    if (state === this.kept) context.drawImage(this.canvas, 0, 0);
    else paint(context);
  }

  // The darkest ring is the widest: those within are painted over it.
  #fill(context, lens, [x, y, z], reach, strength) {
    for (let ring = 0; ring < RINGS; ring++) {
      const share = 1 - 0.75 * (ring + 0.5) / RINGS;
      const points = Array.from({ length: CORNERS }, (_, i) => {
        const turn = 2 * Math.PI * i / CORNERS;
        return [x + share * reach * Math.cos(turn), y + share * reach * Math.sin(turn), z];
      });
      const outline = lens.projectPolygon(points);
      if (outline.length < 3) continue;
      context.fillStyle = css(mix(BACKGROUND, GROUND, strength * fadeAt(share - 0.375 / RINGS)));
      context.beginPath();
      for (const [u, v] of outline) context.lineTo(u, v);
      context.fill();
    }
  }

  // A line every metre, a stronger one every five, fading outwards and where they crowd; strokes of one strength at once.
  #drawLines(context, lens, centre, reach, strength, weak) {
    for (const strong of [false, true]) {
      const paths = Array.from({ length: FADES + 1 }, () => new Path2D());
      for (const along of [0, 1]) this.#collectLines(lens, centre, reach, along, strong, paths);
      context.strokeStyle = css(strong ? GROUND_LINE : mix(GROUND, GROUND_LINE, 0.635));
      // One pixel is quick to paint, more is not.
      context.lineWidth = strong ? 1.8 : 1;
      paths.forEach((path, fade) => {
        context.globalAlpha = strength * (strong ? 1 : weak) * fade / FADES;
        if (fade) context.stroke(path);
      });
    }
    context.globalAlpha = 1;
  }

  // Lines along one axis in pieces, each into the path of its strength.
  #collectLines(lens, [x, y, z], reach, along, strong, paths) {
    const [middle, beside] = along ? [y, x] : [x, y];
    const step = strong ? 5 : 1;
    for (let line = Math.ceil((beside - reach) / step) * step; line <= beside + reach; line += step) {
      if (!strong && line % 5 === 0) continue;
      const off = line - beside;
      const half = Math.sqrt(reach * reach - off * off);
      let last = null;
      for (let knot = 0; knot <= PIECES; knot++) {
        const share = 2 * knot / PIECES - 1;
        const here = along ? lens.project(line, middle + share * half, z) : lens.project(middle + share * half, line, z);
        if (here && last) {
          const fade = fadeAt(Math.hypot(off, (share - 1 / PIECES) * half) / reach);
          const path = paths[Math.round(FADES * fade * sparse(lens, last, here, 2 * half / PIECES, step, z))];
          path.moveTo(last[0], last[1]);
          path.lineTo(here[0], here[1]);
        }
        last = here;
      }
    }
  }
}

// How far a line's neighbours lie off: 0 where they would run into each other, to 1. A pinhole shows a square metre of the
// floor on f² h / depth³ pixels, f its focal length in pixels and h its height.
function sparse(lens, a, b, length, step, floor) {
  const depth = (a[2] + b[2]) / 2;
  const area = lens.focal * lens.focal * Math.abs(lens.eye[2] - floor) / (depth * depth * depth);
  const apart = area * step * length / Math.max(Math.hypot(b[0] - a[0], b[1] - a[1]), 1e-6);
  return 1 - smoothstep(0.15, 0.6, 1 / Math.max(apart, 1e-6));
}
