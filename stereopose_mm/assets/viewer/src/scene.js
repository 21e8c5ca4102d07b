// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// The 3D scene: people, ground, the real camera with its picture, and the names above the heads; and who draws it.

import { LinearFilter, Scene, SRGBColorSpace, Texture, Vector3, VideoTexture } from 'three';
import { JOINTS } from './data.js';
import { Figures } from './figures.js';
import { liftLabel } from './labels.js';
import { Pace } from './pace.js';
import { Painter } from './painter.js';
import { Solid } from './solid.js';
import { Ground, Pyramid } from './stage.js';
import { Viewpoint } from './viewpoint.js';

const FEW = 8;
// A clip that covers more ground than this many metres is framed by who is there now.
const WIDE = 5;
// What rests this long is drawn as finely as can be.
const REST_MS = 180;
const [MOST_DENSITY, COARSE_DENSITY] = [2, 0.7];

export class SceneView {
  constructor(clip, { canvas, paint, labels, still }) {
    this.clip = clip;
    this.scene = new Scene();
    this.ground = new Ground(this.scene);
    this.figures = new Figures(clip, this.scene);
    this.pyramid = new Pyramid(clip, this.scene);
    this.viewpoint = new Viewpoint(clip, canvas, still);
    this.solid = Solid.make(canvas);
    this.painter = new Painter(paint, this);
    this.pace = new Pace(1);
    this.manner = 'auto';
    this.labelsShown = true;
    this.labels = clip.tracks.map((_, row) => {
      const label = document.createElement('span');
      label.style.color = clip.colour(row);
      label.hidden = true;
      labels.append(label);
      return label;
    });
    this.followed = -1;
    this.frame = 0;
    this.needsRender = true;
    this.place = new Vector3();
  }

  resize(width, height) {
    this.size = [width, height];
    this.#listManners();
    this.viewpoint.resize(width, height);
    this.needsRender = true;
  }

  // How the scene can be drawn while it moves, the finest first, and how at rest: who draws, pixels to a CSS pixel.
  #listManners() {
    const { solid, painter, manner } = this;
    const dense = Math.min(window.devicePixelRatio || 1, MOST_DENSITY);
    const densities = dense > 1 ? [dense, 1] : [dense];
    const moving = manner === 'solid' || (manner === 'auto' && solid && !solid.software) ? [solid] : [];
    if (manner !== 'solid') moving.push(painter);
    this.manners = moving.flatMap((by) => densities.map((density) => ({ by, density })));
    if (manner === 'auto') this.manners.push({ by: painter, density: COARSE_DENSITY });
    const best = manner === 'painted' ? painter : solid ?? painter;
    const density = best === solid && solid?.software ? Math.min(2 * dense, MOST_DENSITY) : dense;
    // At rest the painter paints what it skips in a hurry.
    this.finest = this.manners.find((one) => one.by === solid && one.by === best && one.density === density) ?? { by: best, density };
    if (this.pace.levels !== this.manners.length) this.pace.restart(this.manners.length);
  }

  // 'auto', or 'solid' or 'painted' whatever the time it takes; without WebGL all is painted.
  drawAs(manner) {
    this.manner = this.solid ? manner : 'painted';
    this.pace.levels = 0;
    this.#listManners();
    this.needsRender = true;
  }

  setVideo(video) {
    this.texture = new VideoTexture(video);
    this.#usePicture();
  }

  setImage(image) {
    this.texture?.dispose();
    this.texture = new Texture(image);
    this.texture.needsUpdate = true;
    this.#usePicture();
  }

  #usePicture() {
    this.texture.colorSpace = SRGBColorSpace;
    this.texture.generateMipmaps = false;
    this.texture.minFilter = LinearFilter;
    this.pyramid.setTexture(this.texture);
    this.needsRender = true;
  }

  update(frame, visible) {
    const { clip, viewpoint } = this;
    this.frame = frame;
    this.visible = visible;
    this.figures.update(frame, visible);
    this.#writeLabels();
    viewpoint.setFrame(frame);
    const [low, high] = this.#bounds(frame);
    viewpoint.setBounds(low, high, clip.photos);
    const centre = low.clone().add(high).multiplyScalar(0.5);
    const away = centre.distanceTo(this.place.fromArray(clip.world.translation));
    this.pyramid.setCamera(clip.camera(frame), Math.max(0.35, Math.min(2.5, 0.16 * away)));
    this.ground.place(centre, clip.floors[frame], Math.max(14, 1.2 * low.distanceTo(high)));
    if (this.followed >= 0) this.#follow();
    this.needsRender = true;
  }

  // Where nearly all people are over the clip, or on this frame if they walk far or it is a photograph.
  #bounds(frame) {
    const { clip } = this;
    if (!this.overall) this.overall = this.#boundsOf(0, clip.numPoses);
    const [low, high] = this.overall;
    if (!clip.photos && Math.max(high.x - low.x, high.y - low.y) < WIDE) return this.overall;
    return this.#boundsOf(clip.firstPose[frame], clip.firstPose[frame + 1]) ?? this.overall;
  }

  #boundsOf(first, last) {
    const { clip } = this;
    const columns = [[], [], []];
    for (let p = first; p < last; p++) {
      if (clip.lifted[p]) columns.forEach((column, axis) => column.push(clip.roots[p * 3 + axis]));
    }
    if (!columns[0].length) {
      const { rotation: r, translation: t } = clip.world;
      const place = new Vector3(t[0] + 4 * r[2], t[1] + 4 * r[5], t[2] + 4 * r[8]);
      return first === 0 && last === clip.numPoses ? [place.clone().subScalar(1), place.addScalar(1)] : null;
    }
    const [low, high] = [new Vector3(), new Vector3()];
    columns.forEach((column, axis) => {
      const sorted = Float32Array.from(column).sort();
      const name = 'xyz'[axis];
      low[name] = sorted[Math.floor(0.03 * (sorted.length - 1))] - (axis < 2 ? 0.55 : 0.95);
      high[name] = sorted[Math.ceil(0.97 * (sorted.length - 1))] + (axis < 2 ? 0.55 : 1.0);
    });
    return [low, high];
  }

  follow(track) {
    this.followed = track;
    if (track >= 0) this.#follow();
    this.needsRender = true;
  }

  #follow() {
    const pose = this.clip.poseOf(this.frame, this.followed);
    if (pose >= 0 && this.clip.lifted[pose]) this.viewpoint.follow(this.place.fromArray(this.clip.roots, pose * 3));
  }

  #writeLabels() {
    const { clip } = this;
    const few = this.figures.drawn <= FEW;
    this.labelled = [];
    for (const label of this.labels) label.dataset.on = '';
    for (let p = clip.firstPose[this.frame]; p < clip.firstPose[this.frame + 1]; p++) {
      const track = clip.trackOfPose[p];
      if (!clip.lifted[p] || !this.visible[track]) continue;
      const words = few ? `#${clip.tracks[track]}  ${clip.depth[p].toFixed(1)} m` : `#${clip.tracks[track]}`;
      const label = this.labels[track];
      if (label.textContent !== words) label.textContent = words;
      label.dataset.on = '1';
      this.labelled.push([label, p]);
    }
    for (const label of this.labels) label.hidden = !label.dataset.on || !this.labelsShown;
  }

  #placeLabels() {
    if (!this.labelsShown) return;
    const { camera } = this.viewpoint;
    const [width, height] = this.size;
    const taken = [];
    for (const [label, pose] of this.labelled) {
      const { joints } = this.clip;
      let top = 0;
      for (let k = 1; k < JOINTS; k++) if (joints[(pose * JOINTS + k) * 3 + 2] > joints[(pose * JOINTS + top) * 3 + 2]) top = k;
      this.place.fromArray(joints, (pose * JOINTS + top) * 3);
      this.place.z += 0.17;
      this.place.project(camera);
      const half = 3.6 * label.textContent.length + 10;
      const x = (0.5 + 0.5 * this.place.x) * width;
      const y = liftLabel(taken, x, (0.5 - 0.5 * this.place.y) * height, half, 23);
      const behind = this.place.z > 1;
      label.style.transform = behind ? 'translate(-999px, 0)' : `translate(-50%, -100%) translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
    }
  }

  get atRest() {
    return !this.viewpoint.travel && !this.needsRender;
  }

  // Whether no better picture of this will follow.
  get refined() {
    return this.atRest && this.drawn === this.finest;
  }

  // Once for each picture of the screen; whether something moved.
  tick(now, playing) {
    if (this.viewpoint.tick(now)) this.needsRender = true;
    const moved = this.needsRender;
    this.needsRender = false;
    this.pace.record(now, moved);
    if (moved) {
      this.lastDrawn = now;
      this.draw(this.manners[this.pace.level]);
      this.#placeLabels();
    } else if (!playing && this.drawn !== this.finest && now - this.lastDrawn > REST_MS) {
      this.draw(this.finest);
    }
    return moved;
  }

  draw(manner) {
    const { by, density } = manner;
    const { pyramid, ground, solid, painter, viewpoint } = this;
    const through = viewpoint.name === 'camera';
    pyramid.asBackground(through);
    const overPicture = through && pyramid.picture.visible;
    ground.uniforms.strength.value = overPicture ? 0.75 : 1;
    ground.uniforms.filled.value = overPicture ? 0 : 0.75;
    if (by === solid) solid.draw(this.scene, viewpoint.camera, this.size, density);
    else painter.draw(viewpoint.camera, this.size, density, { through, hurried: manner !== this.finest });
    painter.canvas.style.visibility = by === painter ? 'visible' : 'hidden';
    this.drawn = manner;
  }

  get statistics() {
    const { calls, triangles } = this.solid?.renderer.info.render ?? {};
    return { painted: this.drawn?.by === this.painter, density: this.drawn?.density, level: this.pace.level, drawCalls: calls, triangles };
  }

  // CSS pixels of a pose's joints in the view, as drawn.
  jointPixels(pose) {
    const { camera } = this.viewpoint;
    return Array.from({ length: JOINTS }, (_, k) => {
      const place = new Vector3().fromArray(this.clip.joints, (pose * JOINTS + k) * 3).project(camera);
      return [(0.5 + 0.5 * place.x) * this.size[0], (0.5 - 0.5 * place.y) * this.size[1]];
    });
  }
}
