// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// The bar below: who is there when, and where the clip stands; dragged to scrub.

const INSET = 8;

export class Timeline {
  constructor(clip, root, seek) {
    this.clip = clip;
    this.root = root;
    this.canvas = root.querySelector('#tracks');
    this.playhead = root.querySelector('#playhead');
    root.setAttribute('aria-valuemax', clip.numFrames - 1);
    this.runs = this.#findRuns();
    const scrub = (event) => seek(this.#frameAt(event.clientX - root.getBoundingClientRect().left));
    root.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      root.setPointerCapture(event.pointerId);
      this.dragging = true;
      scrub(event);
    });
    root.addEventListener('pointermove', (event) => this.dragging && scrub(event));
    for (const end of ['pointerup', 'pointercancel']) root.addEventListener(end, () => { this.dragging = false; });
  }

  // Stretches of frames on which each person is there: [track, first, last].
  #findRuns() {
    const { clip } = this;
    const runs = [];
    const open = new Map();
    for (let p = 0; p < clip.numPoses; p++) {
      const [track, frame] = [clip.trackOfPose[p], clip.frameOfPose[p]];
      const run = open.get(track);
      if (run && frame - run[2] <= 1) run[2] = frame;
      else {
        open.set(track, [track, frame, frame]);
        runs.push(open.get(track));
      }
    }
    return runs;
  }

  #x(frame) {
    const { times, duration, numFrames } = this.clip;
    const share = duration > 0 ? times[frame] / duration : numFrames > 1 ? frame / (numFrames - 1) : 0;
    return INSET + share * (this.width - 2 * INSET);
  }

  #frameAt(x) {
    const share = Math.max(0, Math.min(1, (x - INSET) / (this.width - 2 * INSET)));
    return this.clip.frameAt(share * this.clip.duration);
  }

  resize(visible) {
    const { clientWidth: width, clientHeight: height } = this.root;
    const density = Math.min(window.devicePixelRatio || 1, 2);
    this.width = width;
    this.canvas.width = Math.round(width * density);
    this.canvas.height = Math.round(height * density);
    const context = this.canvas.getContext('2d');
    context.scale(density, density);
    this.#drawTicks(context, width, height);
    const people = this.clip.tracks.length;
    const [top, bottom] = [10, height - 15];
    const pitch = (bottom - top) / Math.max(people, 1);
    const thick = Math.max(1, Math.min(6, pitch - (pitch > 3 ? 2 : 0)));
    for (const [track, first, last] of this.runs) {
      const x = this.#x(first);
      context.globalAlpha = visible[track] ? 0.85 : 0.2;
      context.fillStyle = this.clip.colour(track);
      context.beginPath();
      context.roundRect(x - 1, top + (track + 0.5) * pitch - thick / 2, Math.max(2, this.#x(last) - x + 2), thick, Math.min(3, thick / 2));
      context.fill();
    }
    context.globalAlpha = 1;
  }

  #drawTicks(context, width, height) {
    const { duration } = this.clip;
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600];
    const step = steps.find((s) => s / duration * width > 70) ?? 3600;
    context.font = '10px "DejaVu Sans", system-ui, sans-serif';
    context.fillStyle = '#6b7888';
    context.textBaseline = 'alphabetic';
    if (this.clip.photos || !(duration > 0)) return;
    for (let i = 0; i * step <= duration * 1.0001; i++) {
      const x = INSET + i * step / duration * (width - 2 * INSET);
      context.fillStyle = '#2a333f';
      context.fillRect(x - 0.5, 6, 1, height - 20);
      context.fillStyle = '#8d9aab';
      context.textAlign = i === 0 ? 'left' : x > width - 24 ? 'right' : 'center';
      context.fillText(`${+(i * step).toFixed(1)} s`, i === 0 ? x - 2 : x > width - 24 ? width - 4 : x, height - 4);
    }
  }

  show(frame) {
    this.playhead.style.transform = `translateX(${this.#x(frame).toFixed(1)}px)`;
  }

  say(frame, words) {
    this.root.setAttribute('aria-valuenow', frame);
    this.root.setAttribute('aria-valuetext', words);
  }
}
