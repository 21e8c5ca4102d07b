// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// Detections and reprojected skeletons on the picture.

import { JOINTS, NO_PIXEL } from './data.js';
import { liftLabel } from './labels.js';

const OUTLINE = '#0b0e13';
const FEW = 8;

export class Overlay {
  constructor(clip, canvas) {
    this.clip = clip;
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
    this.shown = true;
  }

  resize(width, height) {
    const density = Math.min(window.devicePixelRatio || 1, 2);
    this.canvas.width = Math.max(1, Math.round(width * density));
    this.canvas.height = Math.max(1, Math.round(height * density));
    this.density = density;
  }

  draw(frame, visible) {
    const { clip, context, canvas } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.shown) return;
    this.scale = canvas.width / clip.camera(frame).width * clip.pixelStep;
    const poses = [];
    for (let p = clip.firstPose[frame]; p < clip.firstPose[frame + 1]; p++) if (visible[clip.trackOfPose[p]]) poses.push(p);
    // Far people are painted first.
    poses.sort((a, b) => clip.depth[b] - clip.depth[a]);
    context.lineCap = 'round';
    for (const p of poses) if (clip.lifted[p]) this.#drawPerson(p);
    for (const p of poses) this.#drawDetections(p);
    this.taken = [];
    for (const p of poses.reverse()) this.#drawLabel(p, poses.length);
  }

  #point(array, pose, joint) {
    const at = (pose * JOINTS + joint) * 2;
    return array[at] === NO_PIXEL ? null : [array[at] * this.scale, array[at + 1] * this.scale];
  }

  #limbWidth(pose) {
    let low = Infinity;
    let high = -Infinity;
    for (let k = 0; k < JOINTS; k++) {
      const point = this.#point(this.clip.reprojected, pose, k);
      if (point) [low, high] = [Math.min(low, point[1]), Math.max(high, point[1])];
    }
    return Math.max(1.6, Math.min(5, 0.018 * (high - low) / this.density)) * this.density;
  }

  #line(a, b, width, colour) {
    const { context } = this;
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(a[0], a[1]);
    context.lineTo(b[0], b[1]);
    context.stroke();
  }

  #drawPerson(pose) {
    const { clip } = this;
    const { rotation: r } = clip.world;
    const away = (k) => {
      const at = (pose * JOINTS + k) * 3;
      return r[2] * clip.joints[at] + r[5] * clip.joints[at + 1] + r[8] * clip.joints[at + 2];
    };
    const width = this.#limbWidth(pose);
    const own = clip.colour(clip.trackOfPose[pose]);
    const hues = [own, clip.colours.left, clip.colours.right];
    const bones = clip.skeleton.bones.map((bone) => [away(bone[0]) + away(bone[1]), bone]).sort((a, b) => b[0] - a[0]);
    for (const [, [parent, child]] of bones) {
      const a = this.#point(clip.reprojected, pose, parent);
      const b = this.#point(clip.reprojected, pose, child);
      if (!a || !b) continue;
      // The rim ends short of the joints, or it would cut into the neighbouring bones.
      const [dx, dy] = [0.12 * (b[0] - a[0]), 0.12 * (b[1] - a[1])];
      this.#line([a[0] + dx, a[1] + dy], [b[0] - dx, b[1] - dy], width + Math.max(2 * this.density, 0.45 * width), OUTLINE);
      this.#line(a, b, width, hues[clip.sides[child]]);
    }
  }

  // All rings and all dots of a person at once: each stroke alone would cost as much.
  #drawDetections(pose) {
    const { clip, context } = this;
    const lifted = clip.lifted[pose];
    const radius = (lifted ? 0.62 * this.#limbWidth(pose) : 2.2 * this.density) + 0.4 * this.density;
    const dots = new Path2D();
    for (let k = 0; k < JOINTS; k++) {
      const point = this.#point(clip.detections, pose, k);
      if (!point) continue;
      const again = this.#point(clip.reprojectedInput, pose, k);
      // How far the 3D pose misses what was detected; shows only where it does.
      if (again && Math.hypot(again[0] - point[0], again[1] - point[1]) > radius) {
        this.#line(point, again, 1.2 * this.density, '#ffffffb0');
      }
      dots.moveTo(point[0] + radius, point[1]);
      dots.arc(point[0], point[1], radius, 0, 2 * Math.PI);
    }
    context.fillStyle = lifted ? '#ffffff' : '#8d9aab';
    context.strokeStyle = OUTLINE;
    context.lineWidth = 1.3 * this.density;
    context.stroke(dots);
    context.fill(dots);
  }

  #drawLabel(pose, crowd) {
    const { clip, context } = this;
    let top = null;
    for (let k = 0; k < JOINTS; k++) {
      for (const array of [clip.reprojected, clip.detections]) {
        const point = this.#point(array, pose, k);
        if (point && (!top || point[1] < top[1])) top = point;
      }
    }
    // A person beside the picture needs no name on it.
    if (!top || top[0] < -20 || top[0] > this.canvas.width + 20) return;
    const track = clip.trackOfPose[pose];
    let words = `#${clip.tracks[track]}`;
    if (crowd <= FEW) words += clip.lifted[pose] ? `  ${clip.depth[pose].toFixed(1)} m` : '  not lifted';
    const size = (crowd <= FEW ? 12 : 10) * this.density;
    context.font = `650 ${size}px Inter, "Segoe UI", "Noto Sans", "DejaVu Sans", system-ui, sans-serif`;
    const half = context.measureText(words).width / 2 + 0.75 * size;
    const above = clip.lifted[pose] ? 0.17 * clip.camera(clip.frameOfPose[pose]).fy / clip.depth[pose] * this.scale / clip.pixelStep : 6;
    const x = Math.max(half, Math.min(this.canvas.width - half, top[0]));
    const y = Math.max(size, liftLabel(this.taken, x, top[1] - above, half, 2 * size) - 0.9 * size);
    context.fillStyle = '#12161ce0';
    context.beginPath();
    context.roundRect(x - half, y - 0.9 * size, 2 * half, 1.8 * size, 0.9 * size);
    context.fill();
    context.fillStyle = clip.lifted[pose] ? clip.colour(track) : '#8d9aab';
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(words, x, y + 0.05 * size);
  }
}
