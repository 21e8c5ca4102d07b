// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// The clip as typed arrays, out of the page's JSON and base64.

const ARRAYS = {
  u1: Uint8Array, u2: Uint16Array, i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array,
};
export const NO_PIXEL = -32768;
export const JOINTS = 17;

export function decodeBytes(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function unpack({ type, data }) {
  return new ARRAYS[type](decodeBytes(data).buffer);
}

export class Clip {
  constructor(packed) {
    const fields = ['numbers', 'times', 'cameraOfFrame', 'floors', 'frameOfPose', 'trackOfPose', 'lifted', 'roots',
      'offsets', 'sigma', 'error', 'detections', 'reprojected', 'reprojectedInput'];
    Object.assign(this, packed);
    for (const name of fields) this[name] = unpack(packed[name]);
    for (const camera of this.cameras) camera.rays = unpack(camera.rays);
    this.numFrames = this.times.length;
    this.numPoses = this.frameOfPose.length;
    this.duration = this.times[this.numFrames - 1];
    const { left, right } = this.skeleton;
    // 0 middle, 1 left, 2 right: by the bone's child.
    this.sides = Array.from({ length: JOINTS }, (_, k) => (left.includes(k) ? 1 : right.includes(k) ? 2 : 0));
    this.#indexFrames();
    this.#expandJoints();
  }

  #indexFrames() {
    this.firstPose = new Int32Array(this.numFrames + 1);
    for (const frame of this.frameOfPose) this.firstPose[frame + 1]++;
    for (let f = 0; f < this.numFrames; f++) this.firstPose[f + 1] += this.firstPose[f];
    this.mostPeople = 0;
    for (let f = 0; f < this.numFrames; f++) {
      this.mostPeople = Math.max(this.mostPeople, this.firstPose[f + 1] - this.firstPose[f]);
    }
  }

  // World coordinates of all joints, and each pelvis' depth before the camera, once.
  #expandJoints() {
    const { rotation: r, translation: t } = this.world;
    this.joints = new Float32Array(this.offsets.length);
    this.depth = new Float32Array(this.numPoses);
    for (let p = 0; p < this.numPoses; p++) {
      for (let k = 0; k < JOINTS * 3; k++) {
        this.joints[p * JOINTS * 3 + k] = this.roots[p * 3 + (k % 3)] + this.offsets[p * JOINTS * 3 + k] * this.jointStep;
      }
      for (let i = 0; i < 3; i++) this.depth[p] += r[i * 3 + 2] * (this.roots[p * 3 + i] - t[i]);
    }
  }

  colour(track) {
    return this.colours.people[this.tracks[track] % this.colours.people.length];
  }

  camera(frame) {
    return this.cameras[this.cameraOfFrame[frame]];
  }

  // The frame nearest to a time.
  frameAt(time) {
    let low = 0;
    let high = this.numFrames - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low > 0 && time - this.times[low - 1] <= this.times[low] - time ? low - 1 : low;
  }

  // Row of a person's pose on a frame, or -1.
  poseOf(frame, track) {
    for (let p = this.firstPose[frame]; p < this.firstPose[frame + 1]; p++) if (this.trackOfPose[p] === track) return p;
    return -1;
  }
}
