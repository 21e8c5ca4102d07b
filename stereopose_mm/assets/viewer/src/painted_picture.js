// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// The real camera's pyramid with the picture in it, painted: a net of patches, each a parallelogram.

// Patches to a side where the lens is straight.
const PATCHES = 8;
const HURRIED_MS = 120;
// Pixels by which patches overlap, against seams.
const OVERLAP = 0.6;

export class PaintedPicture {
  constructor() {
    this.copy = document.createElement('canvas');
    this.copyContext = this.copy.getContext('2d', { alpha: false, willReadFrequently: true });
  }

  draw(context, lens, pyramid, { through, hurried }) {
    const corners = this.#place(lens, pyramid, through);
    const image = pyramid.picture.visible && pyramid.picture.material.map.image;
    if (image && corners.every(Boolean)) this.#drawPicture(context, corners, image, through, hurried && !through);
    if (!through) this.#drawLines(context, lens, pyramid);
  }

  // How far away it is, for what stands before it.
  depth(lens, pyramid) {
    const points = pyramid.picture.geometry.attributes.position.array;
    const last = points.length - 3;
    return lens.project(...[0, 1, 2].map((axis) => (points[axis] + points[last + axis]) / 2))?.[2] ?? 0;
  }

  // Pixels of the net's knots, row by row.
  #place(lens, pyramid, through) {
    const { array: points } = pyramid.picture.geometry.attributes.position;
    const { net } = pyramid.camera;
    const at = (knot) => [points[knot * 3], points[knot * 3 + 1], points[knot * 3 + 2]];
    // Seen from its own camera, a flat picture is a plain rectangle.
    this.side = net > 2 ? net - 1 : through ? 1 : PATCHES;
    if (net > 2) return Array.from({ length: net * net }, (_, knot) => lens.project(...at(knot)));
    const [a, b, c] = [at(0), at(1), at(2)];
    return Array.from({ length: (this.side + 1) ** 2 }, (_, knot) => {
      const [u, v] = [(knot % (this.side + 1)) / this.side, Math.floor(knot / (this.side + 1)) / this.side];
      return lens.project(...a.map((value, axis) => value + u * (b[axis] - value) + v * (c[axis] - value)));
    });
  }

  #drawPicture(context, corners, image, through, hurried) {
    const { side } = this;
    const source = this.#source(image, hurried);
    if (!source) return;
    const [width, height] = [source.width / side, source.height / side];
    for (let row = 0; row < side; row++) {
      for (let column = 0; column < side; column++) {
        const knot = row * (side + 1) + column;
        const [p, q, r] = [corners[knot], corners[knot + 1], corners[knot + side + 1]];
        context.setTransform((q[0] - p[0]) / width, (q[1] - p[1]) / width, (r[0] - p[0]) / height, (r[1] - p[1]) / height, p[0], p[1]);
        const [x, y] = [column * width, row * height];
        const [more, lower] = [q, r].map((end, i) => OVERLAP * (i ? height : width) / Math.max(1, Math.hypot(end[0] - p[0], end[1] - p[1])));
        const [wide, high] = [column < side - 1 ? width + more : width, row < side - 1 ? height + lower : height];
        context.drawImage(source, x, y, wide, high, 0, 0, wide, high);
      }
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    // Behind the people it stands back.
    if (through) {
      this.#outline(context, corners);
      context.fillStyle = '#00000050';
      context.fill();
    }
  }

  // The frame once as plain pixels: each patch would take it out of the video anew. While that seeks, the last one; and
  // where it is small and moves, not each, for each costs more than all the people.
  #source(image, hurried) {
    const [width, height] = [image.videoWidth ?? image.naturalWidth, image.videoHeight ?? image.naturalHeight];
    const ready = width && (image.readyState ?? 2) >= 2;
    if (ready && !(hurried && image === this.copied && performance.now() - this.copiedAt < HURRIED_MS)) {
      if (this.copy.width !== width || this.copy.height !== height) [this.copy.width, this.copy.height] = [width, height];
      this.copyContext.drawImage(image, 0, 0);
      this.copied = image;
      this.copiedAt = performance.now();
    }
    return this.copied && this.copy;
  }

  #outline(context, corners) {
    const { side } = this;
    const path = [];
    for (let i = 0; i < side; i++) path.push(i);
    for (let i = 0; i < side; i++) path.push(i * (side + 1) + side);
    for (let i = side; i > 0; i--) path.push(side * (side + 1) + i);
    for (let i = side; i > 0; i--) path.push(i * (side + 1));
    context.beginPath();
    for (const knot of path) context.lineTo(corners[knot][0], corners[knot][1]);
    context.closePath();
  }

  #drawLines(context, lens, pyramid) {
    const { array: ends } = pyramid.lines.geometry.attributes.position;
    context.beginPath();
    for (let i = 0; i < ends.length; i += 6) {
      const line = lens.projectPolygon([ends.subarray(i, i + 3), ends.subarray(i + 3, i + 6)].map((end) => Array.from(end)));
      if (line.length < 2) continue;
      context.moveTo(line[0][0], line[0][1]);
      context.lineTo(line[1][0], line[1][1]);
    }
    context.globalAlpha = 0.9;
    context.lineWidth = 1;
    context.strokeStyle = '#8d9aab';
    context.stroke();
    context.globalAlpha = 1;
  }
}
