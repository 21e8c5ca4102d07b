// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// Where the scene is seen from: turned by hand, from named sides, or through the real camera.

import { Matrix4, PerspectiveCamera, Quaternion, Vector3 } from 'three';
import { OrbitControls } from 'three/addons/controls/OrbitControls.js';

// Degrees around the people, from the camera's side to its right, and above the floor; and whether the real camera
// shall be in view.
export const SIDES = {
  overview: { turn: 38, rise: 20, withCamera: false },
  front: { turn: 0, rise: 7, withCamera: false },
  side: { turn: 90, rise: 4, withCamera: true },
  top: { turn: 0, rise: 89.5, withCamera: true },
};
const FOV = 36;
const TRAVEL_MS = 550;
const DRIFT_SECONDS = 0.7;
const [NEAR, FAR] = [0.05, 400];

export class Viewpoint {
  constructor(clip, canvas, still) {
    this.clip = clip;
    this.still = still;
    this.camera = new PerspectiveCamera(FOV, 1, NEAR, FAR);
    this.camera.up.set(0, 0, 1);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = !still;
    this.controls.dampingFactor = 0.12;
    this.controls.minDistance = 0.4;
    this.controls.maxDistance = 150;
    this.size = [1, 1];
    this.name = 'overview';
    this.moved = false;
    this.travel = null;
    this.frame = 0;
    this.controls.addEventListener('start', () => this.#byHand());
    // A first drag or turn of the wheel leaves the camera's view, and is one of the scene already.
    for (const kind of ['pointerdown', 'wheel']) {
      canvas.parentElement.addEventListener(kind, () => this.name === 'camera' && this.#leaveCamera(), { capture: true, passive: true });
    }
  }

  #byHand() {
    this.moved = true;
    if (this.travel) {
      this.controls.target.copy(this.travel.goal.target);
      this.camera.fov = FOV;
      this.camera.updateProjectionMatrix();
      this.travel = null;
    }
    this.named?.();
  }

  resize(width, height) {
    this.size = [width, height];
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    if (this.name === 'camera' && !this.travel) this.#apply(this.#throughCamera());
    else if (!this.moved) this.go(this.name, { atOnce: true });
  }

  // The people's surroundings that a view from outside shall hold: [low, high] corners.
  setBounds(low, high, atOnce) {
    if (this.bounds && this.bounds[0].equals(low) && this.bounds[1].equals(high)) return;
    this.bounds = [low, high];
    // People who walk far are kept in view, until someone turns the scene by hand.
    this.drifts = !this.still && !atOnce;
    if (atOnce && !this.moved && this.name !== 'camera') this.go(this.name, { atOnce });
  }

  go(name, { atOnce = false } = {}) {
    this.name = name;
    this.moved = this.drifts = false;
    this.controls.enabled = name !== 'camera';
    const goal = name === 'camera' ? this.#throughCamera() : this.#fromSide(SIDES[name]);
    if (atOnce || this.still) {
      this.travel = null;
      this.#apply(goal);
    } else {
      this.travel = { from: this.#current(), goal, start: performance.now() };
    }
    this.named?.();
  }

  #current() {
    const { position, quaternion, projectionMatrix } = this.camera;
    return { position: position.clone(), quaternion: quaternion.clone(), projection: projectionMatrix.clone() };
  }

  #axis(column) {
    const { rotation: r } = this.clip.world;
    return new Vector3(r[column], r[3 + column], r[6 + column]);
  }

  // The real camera comes into the view where it shall, or where that costs the people little size.
  #fromSide({ turn, rise, withCamera }) {
    const people = this.#frame(turn, rise, withCamera);
    if (withCamera) return people;
    const all = this.#frame(turn, rise, true);
    return all.distance < 1.15 * people.distance ? all : people;
  }

  #frame(turn, rise, withCamera) {
    const [low, high] = this.bounds.map((corner) => corner.clone());
    if (withCamera) {
      const eye = new Vector3(...this.clip.world.translation);
      low.min(eye);
      high.max(eye);
    }
    const target = low.clone().add(high).multiplyScalar(0.5);
    const forward = this.#axis(2).setZ(0);
    if (forward.lengthSq() < 1e-6) forward.copy(this.#axis(1)).setZ(0).negate();
    const [heading, height] = [Math.atan2(-forward.y, -forward.x) + turn * Math.PI / 180, rise * Math.PI / 180];
    const towards = new Vector3(Math.cos(heading) * Math.cos(height), Math.sin(heading) * Math.cos(height), Math.sin(height));
    const view = new Matrix4().lookAt(towards, new Vector3(), this.camera.up);
    const [right, up] = [new Vector3(), new Vector3()];
    view.extractBasis(right, up, new Vector3());
    const tangent = Math.tan(FOV * Math.PI / 360);
    let distance = 1;
    for (let corner = 0; corner < 8; corner++) {
      const place = new Vector3(corner & 1 ? low.x : high.x, corner & 2 ? low.y : high.y, corner & 4 ? low.z : high.z).sub(target);
      const across = Math.max(Math.abs(place.dot(right)) / this.camera.aspect, Math.abs(place.dot(up))) / tangent;
      distance = Math.max(distance, place.dot(towards) + 1.08 * across);
    }
    const position = target.clone().addScaledVector(towards, distance);
    const quaternion = new Quaternion().setFromRotationMatrix(view);
    const lens = new PerspectiveCamera(FOV, this.camera.aspect, NEAR, FAR);
    return { position, quaternion, projection: lens.projectionMatrix, target, distance };
  }

  // Rectangle of the picture in the view, as large as fits: left, top, width, height in CSS pixels.
  pictureBox() {
    const { width, height } = this.clip.camera(this.frame);
    const scale = Math.min(this.size[0] / width, this.size[1] / height);
    return [(this.size[0] - width * scale) / 2, (this.size[1] - height * scale) / 2, width * scale, height * scale];
  }

  #throughCamera() {
    const { fx, fy, cx, cy, width } = this.clip.camera(this.frame);
    const [left, top, shown] = this.pictureBox();
    const scale = shown / width;
    // Pixel (u, v) of the picture is (left + scale u, top + scale v) of the view.
    const bounds = [-(left / scale + cx) / fx, ((this.size[0] - left) / scale - cx) / fx,
      (top / scale + cy) / fy, -((this.size[1] - top) / scale - cy) / fy].map((value) => value * NEAR);
    const projection = new Matrix4().makePerspective(...bounds, NEAR, FAR);
    const axes = new Matrix4().makeBasis(this.#axis(0), this.#axis(1).negate(), this.#axis(2).negate());
    return {
      position: new Vector3(...this.clip.world.translation), quaternion: new Quaternion().setFromRotationMatrix(axes), projection,
    };
  }

  #leaveCamera() {
    this.#apply(this.#throughCamera());
    this.camera.fov = Math.min(100, 2 * Math.atan(1 / this.camera.projectionMatrix.elements[5]) * 180 / Math.PI);
    this.camera.updateProjectionMatrix();
    const centre = this.bounds[0].clone().add(this.bounds[1]).multiplyScalar(0.5);
    const forward = this.#axis(2);
    const distance = Math.max(1, centre.sub(this.camera.position).dot(forward));
    this.controls.target.copy(this.camera.position).addScaledVector(forward, distance);
    this.controls.enabled = true;
    this.name = 'overview';
    this.#byHand();
  }

  #apply({ position, quaternion, projection, target }) {
    this.camera.position.copy(position);
    this.camera.quaternion.copy(quaternion);
    if (target) {
      this.camera.fov = FOV;
      this.camera.updateProjectionMatrix();
      this.controls.target.copy(target);
      this.controls.update();
    } else {
      this.#setProjection(projection);
    }
    this.camera.updateMatrixWorld();
  }

  #setProjection(matrix) {
    this.camera.projectionMatrix.copy(matrix);
    this.camera.projectionMatrixInverse.copy(matrix).invert();
  }

  #drift(seconds) {
    if (!this.drifts || this.moved) return false;
    const goal = this.#fromSide(SIDES[this.name]);
    const share = 1 - Math.exp(-seconds / DRIFT_SECONDS);
    this.camera.position.lerp(goal.position, share);
    this.controls.target.lerp(goal.target, share);
    this.drifts = this.camera.position.distanceTo(goal.position) > 0.01;
    this.controls.update();
    return true;
  }

  // Whether all between here and the picture is the real camera's own view.
  get throughCamera() {
    return this.name === 'camera' && !this.travel;
  }

  // Another picture may have been taken with another camera.
  setFrame(frame) {
    const changed = this.clip.cameraOfFrame[frame] !== this.clip.cameraOfFrame[this.frame];
    this.frame = frame;
    if (changed && this.throughCamera) this.#apply(this.#throughCamera());
  }

  follow(place) {
    if (this.name === 'camera' || this.travel) return;
    this.drifts = false;
    const shift = place.clone().sub(this.controls.target);
    this.controls.target.add(shift);
    this.camera.position.add(shift);
  }

  // Once for each picture of the screen; whether anything moved.
  tick(now) {
    const passed = Math.min(0.1, (now - (this.last ?? now)) / 1000);
    this.last = now;
    if (!this.travel) return this.name !== 'camera' && (this.#drift(passed) || this.controls.update());
    const { from, goal, start } = this.travel;
    const share = Math.min(1, Math.max(0, now - start) / TRAVEL_MS);
    const eased = share * share * (3 - 2 * share);
    if (share === 1) {
      this.travel = null;
      this.#apply(goal);
      return true;
    }
    this.camera.position.lerpVectors(from.position, goal.position, eased);
    this.camera.quaternion.slerpQuaternions(from.quaternion, goal.quaternion, eased);
    const blend = from.projection.elements.map((value, i) => value + (goal.projection.elements[i] - value) * eased);
    this.#setProjection(new Matrix4().fromArray(blend));
    this.camera.updateMatrixWorld();
    return true;
  }
}
