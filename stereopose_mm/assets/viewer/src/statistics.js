// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// How long the last pictures of the screen took: between them, and in this page's own code.

const KEPT = 600;

export class Statistics {
  constructor() {
    this.reset();
  }

  reset() {
    this.steps = [];
    this.work = [];
    this.drew = [];
    this.last = null;
  }

  record(now, milliseconds, drew) {
    if (this.last !== null) this.steps.push(now - this.last);
    this.last = now;
    this.work.push(milliseconds);
    this.drew.push(drew);
    for (const list of [this.steps, this.work, this.drew]) if (list.length > KEPT) list.shift();
  }

  summary() {
    const sorted = (list) => [...list].sort((a, b) => a - b);
    const at = (list, share) => (list.length ? sorted(list)[Math.min(list.length - 1, Math.floor(share * list.length))] : 0);
    const mean = this.steps.reduce((sum, step) => sum + step, 0) / Math.max(1, this.steps.length);
    return {
      pictures: this.steps.length,
      framesPerSecond: mean ? 1000 / mean : 0,
      // Of these pictures, in how many the scene had moved.
      scenes: this.drew.filter(Boolean).length,
      stepMedian: at(this.steps, 0.5),
      step95: at(this.steps, 0.95),
      scriptMedian: at(this.work, 0.5),
      script95: at(this.work, 0.95),
    };
  }
}
