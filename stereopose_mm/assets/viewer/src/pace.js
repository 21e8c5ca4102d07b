// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// Whether the scene keeps up with the screen; where it does not, it is drawn more simply.

// Pictures that one verdict is made from, and milliseconds of one at 60 a second with some slack.
const [PICTURES, ENOUGH_MS] = [45, 20.5];
// Of the screen's own step: one that shows 30 a second is not to be blamed on the drawing.
const SLACK = 1.4;

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

export class Pace {
  // `levels`: how many manners of drawing there are, the finest first.
  constructor(levels) {
    this.last = null;
    this.still = [];
    this.restart(levels);
  }

  restart(levels) {
    this.levels = levels;
    this.level = 0;
    this.moving = [];
  }

  // Once for each picture of the screen; whether the scene was drawn for it.
  record(now, drew) {
    const step = this.last === null ? 0 : now - this.last;
    this.last = now;
    // A hidden page stands still; the first picture after a rest says nothing of this one.
    if (step > 0 && step < 1000 && drew === this.drew) (drew ? this.moving : this.still).push(step);
    this.drew = drew;
    if (this.still.length > PICTURES) this.still.shift();
    if (this.moving.length < PICTURES) return;
    const own = this.still.length ? median(this.still) : 0;
    if (median(this.moving) > Math.max(ENOUGH_MS, SLACK * own)) this.level = Math.min(this.level + 1, this.levels - 1);
    this.moving = [];
  }
}
