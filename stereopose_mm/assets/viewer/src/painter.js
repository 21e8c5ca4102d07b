// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// The scene without WebGL: painted from far to near on a plain canvas, which takes a processor alone a tenth of the
// time that it takes to play the graphics card.

import { Lens } from './lens.js';
import { PaintedGround } from './painted_ground.js';
import { PaintedPeople } from './painted_people.js';
import { PaintedPicture } from './painted_picture.js';
import { BACKGROUND } from './palette.js';

export class Painter {
  constructor(canvas, { ground, pyramid, figures }) {
    this.canvas = canvas;
    // Kept in memory: software that plays the graphics card would be as slow here.
    this.context = canvas.getContext('2d', { alpha: false, willReadFrequently: true });
    this.ground = ground;
    this.pyramid = pyramid;
    this.lens = new Lens();
    this.paintedGround = new PaintedGround();
    this.paintedPicture = new PaintedPicture();
    this.people = new PaintedPeople(figures);
  }

  // `through` the real camera, its picture behind all; `hurried`: more pictures follow at once.
  draw(camera, size, density, view) {
    const { canvas, context, lens, people } = this;
    const [width, height] = size.map((value) => Math.max(1, Math.round(value * density)));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    lens.set(camera, width, height);
    context.fillStyle = `rgb(${BACKGROUND.join()})`;
    context.fillRect(0, 0, width, height);
    if (view.through) this.paintedPicture.draw(context, lens, this.pyramid, view);
    this.paintedGround.draw(context, lens, this.ground);
    people.drawFloor(context, lens);
    const shapes = people.limbs(lens);
    if (!view.through) shapes.push({ depth: this.paintedPicture.depth(lens, this.pyramid), picture: true });
    shapes.sort((one, other) => other.depth - one.depth);
    for (const shape of shapes) {
      if (shape.picture) this.paintedPicture.draw(context, lens, this.pyramid, view);
      else people.drawLimb(context, lens, shape);
    }
    people.drawRods(context, lens);
  }

  // Until the last pixel is there.
  finish() {
    this.context.getImageData(0, 0, 1, 1);
  }
}
