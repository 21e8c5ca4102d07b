// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// All people as capsules in one draw call, their shadows in a second, their trails in a third.

import {
  BufferAttribute, BufferGeometry, Color, DataTexture, DoubleSide, FloatType, Mesh, RGBAFormat, ShaderMaterial, Vector3,
} from 'three';
import { JOINTS } from './data.js';

// A figure's capsules: from joint (or a point between two joints, [a, b, share]) to joint, radii in metres, and whose
// colour: that of the side (1 left, 2 right), or the person's own (0). H36M-17.
const CAPSULES = [
  [0, 7, 0.088, 0.078, 0], [7, 8, 0.08, 0.07, 0], [8, [8, 9, 0.8], 0.046, 0.042, 0],
  [[9, 10, 0.15], [9, 10, 0.62], 0.082, 0.092, 0],
  [0, 1, 0.078, 0.076, 2], [1, 2, 0.074, 0.051, 2], [2, 3, 0.05, 0.034, 2],
  [0, 4, 0.078, 0.076, 1], [4, 5, 0.074, 0.051, 1], [5, 6, 0.05, 0.034, 1],
  [8, 11, 0.06, 0.05, 1], [11, 12, 0.048, 0.037, 1], [12, 13, 0.036, 0.025, 1],
  [8, 14, 0.06, 0.05, 2], [14, 15, 0.048, 0.037, 2], [15, 16, 0.036, 0.025, 2],
];
// Pale balls on the joints that bend, each before the foot or hand that follows it.
const BALLS = [[2, 0.054], [3, 0.043], [5, 0.054], [6, 0.043], [12, 0.041], [13, 0.034], [15, 0.041], [16, 0.034]];
export const NUM_CAPSULES = CAPSULES.length;
export const PARTS = NUM_CAPSULES + BALLS.length;
const WHITE = new Color('#ffffff');
const TRAIL_SECONDS = 2.5;
const TRAIL_SEGMENTS = 1536;
// Segments in a row of their texture.
const ROW = 64;

// Each vertex knows the number of its segment, and reads that from a small texture: one plain draw call for all, which
// software renderers, unlike instances, draw as quickly as hardware's.
const SEGMENT = /* glsl */ `
  attribute float segment;
  uniform highp sampler2D segments;
  vec4 part(int k) {
    int i = int(segment);
    return texelFetch(segments, ivec2((i % ${ROW}) * 4 + k, i / ${ROW}), 0);
  }`;

// Capsule between two points with a radius at either end; `position` is on the unit sphere, z along the axis.
const CAPSULE_VERTEX = /* glsl */ `
  ${SEGMENT}
  attribute float far;
  varying vec3 vWorld, vTint, vStart, vEnd;
  void main() {
    vec3 start = part(0).xyz, end = part(1).xyz;
    vec2 radii = vec2(part(0).w, part(1).w);
    vec3 axis = end - start;
    float length = length(axis);
    vec3 w = length > 1e-5 ? axis / length : vec3(0.0, 0.0, 1.0);
    vec3 u = normalize(cross(abs(w.z) < 0.9 ? vec3(0.0, 0.0, 1.0) : vec3(1.0, 0.0, 0.0), w));
    vec3 normal = mat3(u, cross(w, u), w) * position;
    vStart = start;
    vEnd = end;
    vWorld = mix(start, end, far) + normal * mix(radii.x, radii.y, far);
    vTint = part(2).rgb;
    gl_Position = projectionMatrix * viewMatrix * vec4(vWorld, 1.0);
  }`;

// The normal of the true capsule, so that few triangles look round.
const NORMAL = /* glsl */ `
  varying vec3 vWorld, vTint, vStart, vEnd;
  vec3 capsuleNormal() {
    vec3 axis = vEnd - vStart;
    float share = clamp(dot(vWorld - vStart, axis) / max(dot(axis, axis), 1e-8), 0.0, 1.0);
    return normalize(vWorld - vStart - share * axis);
  }`;

const BODY_FRAGMENT = /* glsl */ `
  ${NORMAL}
  void main() {
    vec3 n = capsuleNormal(), toEye = normalize(cameraPosition - vWorld);
    vec3 right = normalize(cross(vec3(0.0, 0.0, 1.0), toEye) + 1e-4);
    vec3 key = normalize(toEye * 0.55 + right * -0.45 + vec3(0.0, 0.0, 0.85));
    float lit = smoothstep(-0.35, 1.0, dot(n, key));
    float sky = 0.5 + 0.5 * n.z;
    float rim = pow(1.0 - max(dot(n, toEye), 0.0), 3.0);
    vec3 colour = vTint * (0.16 + 0.22 * sky + 0.66 * lit);
    colour += pow(max(dot(n, normalize(key + toEye)), 0.0), 38.0) * 0.11;
    colour = mix(colour, vTint * 0.12, 0.45 * rim) + rim * sky * vec3(0.05, 0.08, 0.12);
    gl_FragColor = vec4(colour, 1.0);
    #include <colorspace_fragment>
  }`;

const WHISKER_FRAGMENT = /* glsl */ `
  ${NORMAL}
  void main() {
    float facing = abs(dot(capsuleNormal(), normalize(cameraPosition - vWorld)));
    gl_FragColor = vec4(mix(vTint, vec3(1.0), 0.5), 0.25 + 0.4 * facing);
    #include <colorspace_fragment>
  }`;

// A strip of the floor around a limb's vertical projection, softer the higher the limb.
const SHADOW_VERTEX = /* glsl */ `
  ${SEGMENT}
  uniform float floorHeight;
  varying vec2 vPlace;
  varying float vHalf, vReach, vStrength;
  void main() {
    vec3 start = part(0).xyz, end = part(1).xyz;
    vec2 radii = vec2(part(0).w, part(1).w);
    vec2 along = end.xy - start.xy;
    float length = length(along);
    vec2 u = length > 1e-5 ? along / length : vec2(1.0, 0.0);
    float height = max(0.0, 0.5 * (start.z + end.z) - floorHeight);
    vReach = 0.09 + 0.5 * (radii.x + radii.y) + 0.12 * height;
    vHalf = 0.5 * length;
    vStrength = 0.5 / (1.0 + 2.2 * height);
    vPlace = position.xy * vec2(vHalf + vReach, vReach);
    vec2 place = 0.5 * (start.xy + end.xy) + u * vPlace.x + vec2(-u.y, u.x) * vPlace.y;
    gl_Position = projectionMatrix * viewMatrix * vec4(place, floorHeight + 0.004, 1.0);
  }`;

const SHADOW_FRAGMENT = /* glsl */ `
  varying vec2 vPlace;
  varying float vHalf, vReach, vStrength;
  void main() {
    float away = length(vec2(max(abs(vPlace.x) - vHalf, 0.0), vPlace.y)) / vReach;
    float soft = 1.0 - smoothstep(0.0, 1.0, away);
    gl_FragColor = vec4(0.0, 0.0, 0.0, vStrength * soft * soft);
  }`;

// In place of the radii: ages of the ends, 0 now to 1 gone.
const TRAIL_VERTEX = /* glsl */ `
  ${SEGMENT}
  uniform float floorHeight;
  varying vec3 vTint;
  varying float vAge, vAcross;
  void main() {
    vec3 start = part(0).xyz, end = part(1).xyz;
    vec2 along = end.xy - start.xy;
    float length = length(along);
    vec2 u = length > 1e-5 ? along / length : vec2(1.0, 0.0);
    float on = 0.5 + 0.5 * position.x;
    vAge = mix(part(0).w, part(1).w, on);
    vAcross = position.y;
    vTint = part(2).rgb;
    vec2 place = mix(start.xy, end.xy, on) + vec2(-u.y, u.x) * position.y * 0.04 * (1.0 - 0.6 * vAge);
    gl_Position = projectionMatrix * viewMatrix * vec4(place, floorHeight + 0.007, 1.0);
  }`;

const TRAIL_FRAGMENT = /* glsl */ `
  varying vec3 vTint;
  varying float vAge, vAcross;
  void main() {
    gl_FragColor = vec4(vTint, 0.75 * (1.0 - vAge) * (1.0 - smoothstep(0.55, 1.0, abs(vAcross))));
    #include <colorspace_fragment>
  }`;

// Two half spheres whose rims are joined by the capsule's side: points on the unit sphere, and which end they belong to.
function capsuleShape(columns, rows) {
  const [points, far, index] = [[], [], []];
  const rings = [];
  // The equator twice, once for each end.
  for (let row = 0; row <= rows; row++) {
    rings.push([row, row > rows / 2 ? 0 : 1]);
    if (row === rows / 2) rings.push([row, 0]);
  }
  for (const [row, end] of rings) {
    const polar = Math.PI * row / rows;
    for (let column = 0; column <= columns; column++) {
      const turn = 2 * Math.PI * column / columns;
      points.push(Math.sin(polar) * Math.cos(turn), Math.sin(polar) * Math.sin(turn), Math.cos(polar));
      far.push(end);
    }
  }
  for (let ring = 0; ring < rings.length - 1; ring++) {
    for (let column = 0; column < columns; column++) {
      const a = ring * (columns + 1) + column;
      const below = a + columns + 1;
      index.push(a, below, a + 1, a + 1, below, below + 1);
    }
  }
  return { points, far, index };
}

const QUAD = { points: [-1, -1, 0, 1, -1, 0, -1, 1, 0, 1, 1, 0], far: [0, 0, 0, 0], index: [0, 1, 2, 2, 1, 3] };

// Segments in space with a number at either end and a colour, in a texture.
class Segments {
  constructor(count) {
    const rows = Math.max(1, Math.ceil(count / ROW));
    this.values = new Float32Array(rows * ROW * 16);
    this.texture = new DataTexture(this.values, ROW * 4, rows, RGBAFormat, FloatType);
    this.capacity = rows * ROW;
    this.count = 0;
  }

  add(a, b, atA, atB, colour) {
    if (this.count === this.capacity) return;
    const at = 16 * this.count++;
    const { values } = this;
    values[at] = a.x; values[at + 1] = a.y; values[at + 2] = a.z; values[at + 3] = atA;
    values[at + 4] = b.x; values[at + 5] = b.y; values[at + 6] = b.z; values[at + 7] = atB;
    values[at + 8] = colour.r; values[at + 9] = colour.g; values[at + 10] = colour.b;
  }
}

// The same shape for each segment, in one mesh.
function meshOf(segments, { points, far, index }, order, { uniforms, ...options }) {
  const size = far.length;
  const { capacity } = segments;
  const arrays = {
    position: [new Float32Array(capacity * size * 3), 3],
    far: [new Uint8Array(capacity * size), 1],
    segment: [new Float32Array(capacity * size), 1],
  };
  const all = new Uint32Array(capacity * index.length);
  for (let i = 0; i < capacity; i++) {
    arrays.position[0].set(points, i * points.length);
    arrays.far[0].set(far, i * size);
    arrays.segment[0].fill(i, i * size, (i + 1) * size);
    for (let k = 0; k < index.length; k++) all[i * index.length + k] = index[k] + i * size;
  }
  const geometry = new BufferGeometry();
  for (const [name, [array, width]] of Object.entries(arrays)) geometry.setAttribute(name, new BufferAttribute(array, width));
  geometry.setIndex(new BufferAttribute(all, 1));
  const material = new ShaderMaterial({ ...options, uniforms: { ...uniforms, segments: { value: segments.texture } } });
  const mesh = new Mesh(geometry, material);
  mesh.frustumCulled = false;
  mesh.renderOrder = order;
  mesh.show = () => {
    segments.texture.needsUpdate = true;
    geometry.setDrawRange(0, segments.count * index.length);
    mesh.visible = segments.count > 0;
  };
  return mesh;
}

export class Figures {
  constructor(clip, group) {
    this.clip = clip;
    this.floor = { value: 0 };
    this.whiskersShown = false;
    this.trailsShown = !clip.photos;
    this.drawn = 0;
    const tints = (code) => new Color(code);
    this.own = clip.colours.people.map(tints);
    this.sides = [null, tints(clip.colours.left), tints(clip.colours.right)];
    const most = Math.max(1, clip.mostPeople);

    this.limbs = new Segments(most * PARTS);
    this.steps = new Segments(this.trailsShown ? TRAIL_SEGMENTS : 0);
    this.rods = new Segments(most * JOINTS);
    const uniforms = { floorHeight: this.floor };
    const flat = { transparent: true, depthWrite: false, side: DoubleSide, uniforms };
    const body = { vertexShader: CAPSULE_VERTEX, fragmentShader: BODY_FRAGMENT };
    const shadow = { ...flat, vertexShader: SHADOW_VERTEX, fragmentShader: SHADOW_FRAGMENT };
    const trail = { ...flat, vertexShader: TRAIL_VERTEX, fragmentShader: TRAIL_FRAGMENT };
    // Shorter than limbs are thick, they would hide within.
    const whisker = { transparent: true, depthTest: false, depthWrite: false, vertexShader: CAPSULE_VERTEX, fragmentShader: WHISKER_FRAGMENT };
    this.meshes = [
      meshOf(this.limbs, capsuleShape(14, 6), 0, body),
      meshOf(this.limbs, QUAD, 2, shadow),
      meshOf(this.steps, QUAD, 3, trail),
      meshOf(this.rods, capsuleShape(6, 2), 4, whisker),
    ];
    group.add(...this.meshes);
  }

  update(frame, visible) {
    const { clip } = this;
    this.floor.value = clip.floors[frame];
    this.drawn = 0;
    for (const segments of [this.limbs, this.steps, this.rods]) segments.count = 0;
    for (let p = clip.firstPose[frame]; p < clip.firstPose[frame + 1]; p++) {
      if (!clip.lifted[p] || !visible[clip.trackOfPose[p]]) continue;
      this.drawn++;
      this.#placePerson(p);
      if (this.whiskersShown) this.#placeWhiskers(p);
    }
    if (this.trailsShown) this.#placeTrails(frame, visible);
    for (const mesh of this.meshes) mesh.show();
  }

  #joint(pose, place, out) {
    const { joints } = this.clip;
    const base = pose * JOINTS * 3;
    if (typeof place === 'number') return out.fromArray(joints, base + place * 3);
    const [a, b, share] = place;
    for (const [i, axis] of ['x', 'y', 'z'].entries()) {
      out[axis] = joints[base + a * 3 + i] * (1 - share) + joints[base + b * 3 + i] * share;
    }
    return out;
  }

  #placePerson(pose) {
    const own = this.#own(pose);
    for (const [from, to, near, far, side] of CAPSULES) {
      this.limbs.add(this.#joint(pose, from, A), this.#joint(pose, to, B), near, far, this.sides[side] ?? own);
    }
    for (const [joint, radius] of BALLS) {
      this.#joint(pose, joint, A);
      TINT.copy(this.sides[this.clip.sides[joint]]).lerp(WHITE, 0.55);
      this.limbs.add(A, A, radius, radius, TINT);
    }
  }

  #own(pose) {
    return this.own[this.clip.tracks[this.clip.trackOfPose[pose]] % this.own.length];
  }

  // One standard deviation of depth to either side, along the ray from the camera.
  #placeWhiskers(pose) {
    EYE.fromArray(this.clip.world.translation);
    for (let k = 0; k < JOINTS; k++) {
      const sigma = this.clip.sigma[pose * JOINTS + k] / 1000;
      if (!sigma) continue;
      this.#joint(pose, k, A);
      REACH.subVectors(A, EYE).setLength(sigma);
      B.addVectors(A, REACH);
      this.rods.add(A.sub(REACH), B, 0.011, 0.011, this.#own(pose));
    }
  }

  #placeTrails(frame, visible) {
    const { clip } = this;
    const later = new Map();
    for (let p = clip.firstPose[frame + 1] - 1; p >= 0; p--) {
      const age = (clip.times[frame] - clip.times[clip.frameOfPose[p]]) / TRAIL_SECONDS;
      if (age > 1) break;
      const track = clip.trackOfPose[p];
      if (!clip.lifted[p] || !visible[track]) continue;
      const next = later.get(track);
      // No line over a gap in which the person was not seen.
      if (next && clip.frameOfPose[next.pose] - clip.frameOfPose[p] <= 5) {
        this.steps.add(A.fromArray(clip.roots, p * 3), B.fromArray(clip.roots, next.pose * 3), age, next.age, this.#own(p));
      }
      later.set(track, { pose: p, age });
    }
  }
}

const A = new Vector3();
const B = new Vector3();
const EYE = new Vector3();
const REACH = new Vector3();
const TINT = new Color();
