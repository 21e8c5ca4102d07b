// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// A camera of three.js as plain numbers: where points of the world lie on a canvas.

import { Matrix4 } from 'three';

// Nothing nearer than this many metres is painted.
const NEAREST = 0.1;

export class Lens {
  constructor() {
    this.matrix = new Matrix4();
    this.view = new Matrix4();
  }

  set(camera, width, height) {
    camera.updateMatrixWorld();
    this.view.copy(camera.matrixWorld).invert();
    this.matrix.multiplyMatrices(camera.projectionMatrix, this.view);
    [this.width, this.height] = [width, height];
    const { elements: p } = camera.projectionMatrix;
    // Pixels that a metre takes up at a depth of one metre.
    this.focal = (p[0] * width + p[5] * height) / 4;
    const { elements: m } = camera.matrixWorld;
    this.right = [m[0], m[1], m[2]];
    this.up = [m[4], m[5], m[6]];
    this.eye = [m[12], m[13], m[14]];
  }

  // Pixel (x, y) of a point, and its depth in metres; null where it is not before the lens.
  project(x, y, z) {
    const { elements: m } = this.matrix;
    const depth = m[3] * x + m[7] * y + m[11] * z + m[15];
    if (depth < NEAREST) return null;
    return [
      (0.5 + 0.5 * (m[0] * x + m[4] * y + m[8] * z + m[12]) / depth) * this.width,
      (0.5 - 0.5 * (m[1] * x + m[5] * y + m[9] * z + m[13]) / depth) * this.height,
      depth,
    ];
  }

  #depth([x, y, z]) {
    const { elements: m } = this.matrix;
    return m[3] * x + m[7] * y + m[11] * z + m[15];
  }

  // Pixels of a polygon, without what is not before the lens.
  projectPolygon(points) {
    const shown = [];
    points.forEach((point, i) => {
      const next = points[(i + 1) % points.length];
      const [here, there] = [this.#depth(point), this.#depth(next)];
      if (here >= NEAREST) shown.push(this.project(...point));
      if ((here >= NEAREST) === (there >= NEAREST)) return;
      // A hair before the limit, or rounding would take it away.
      const share = (NEAREST * 1.0001 - here) / (there - here);
      shown.push(this.project(...point.map((value, axis) => value + share * (next[axis] - value))));
    });
    return shown.filter(Boolean);
  }
}
