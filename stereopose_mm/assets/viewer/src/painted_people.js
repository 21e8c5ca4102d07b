// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// The people as flat shapes with the shading of figures.js across them: capsules, soft shadows, trails, rods of depth.

import { NUM_CAPSULES, PARTS } from './figures.js';

// Where across a capsule its colour is computed, from edge to edge, and the steps of a trail's ages.
const ACROSS = [-1, -0.84, -0.36, 0.36, 0.84, 1];
const AGES = 8;
// Pixels between two places of a trail.
const STRIDE = 3;
// Radius of a ball, in pixels.
const SMALL = 4;

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const sum = (a, x, b, y) => [a[0] * x + b[0] * y, a[1] * x + b[1] * y, a[2] * x + b[2] * y];
const unit = (a) => {
  const length = Math.hypot(a[0], a[1], a[2]) || 1;
  return [a[0] / length, a[1] / length, a[2] / length];
};

// Linear light, 0 to 1, as sRGB bytes.
const BYTES = Uint8Array.from({ length: 1025 }, (_, i) => {
  const light = i / 1024;
  return Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055));
});
const byte = (light) => BYTES[Math.max(0, Math.min(1024, Math.round(1024 * light)))];
const css = (r, g, b) => `rgb(${byte(r)},${byte(g)},${byte(b)})`;

// The light of figures.js, which goes with the eye.
function lightFrom(toEye) {
  const right = unit([-toEye[1], toEye[0], 0]);
  const key = unit([toEye[0] * 0.55 - right[0] * 0.45, toEye[1] * 0.55 - right[1] * 0.45, toEye[2] * 0.55 + 0.85]);
  return { toEye, key, half: unit(sum(key, 1, toEye, 1)) };
}

function shade(normal, { toEye, key, half }, tint) {
  const t = Math.max(0, Math.min(1, (dot(normal, key) + 0.35) / 1.35));
  const sky = 0.5 + 0.5 * normal[2];
  const edge = 1 - Math.max(dot(normal, toEye), 0);
  const rim = edge * edge * edge;
  const base = 0.16 + 0.22 * sky + 0.66 * t * t * (3 - 2 * t);
  const shine = Math.max(dot(normal, half), 0) ** 38 * 0.11;
  const dark = 0.45 * rim;
  const part = (i) => (tint[i] * base + shine) * (1 - dark) + tint[i] * 0.12 * dark + rim * sky * (0.05 + 0.035 * i);
  return css(part(0), part(1), part(2));
}

// Shadows of about one height are one shape, painted in layers that narrow to its middle.
const [HEIGHTS, LAYERS] = [[0.15, 0.6, Infinity], [0.95, 0.75, 0.55, 0.35]];
const CORNERS = Array.from({ length: 10 }, (_, i) => [Math.cos(Math.PI * i / 5), Math.sin(Math.PI * i / 5)]);

const softness = (away) => (1 - away * away * (3 - 2 * away)) ** 2;

// Segment `i` of figures.js: two ends, a number at either, and a colour.
function segmentAt({ values }, i) {
  const at = 16 * i;
  return {
    start: [values[at], values[at + 1], values[at + 2]], end: [values[at + 4], values[at + 5], values[at + 6]],
    near: values[at + 3], far: values[at + 7], tint: [values[at + 8], values[at + 9], values[at + 10]],
  };
}

export class PaintedPeople {
  constructor(figures) {
    this.figures = figures;
  }

  drawFloor(context, lens) {
    const height = this.figures.floor.value;
    this.#drawShadows(context, lens, height + 0.004);
    this.#drawTrails(context, lens, height + 0.007);
  }

  #drawShadows(context, lens, floor) {
    const groups = HEIGHTS.map(() => []);
    for (let i = 0; i < this.figures.limbs.count; i++) {
      const shadow = this.#shadow(lens, segmentAt(this.figures.limbs, i), floor);
      if (shadow) groups[HEIGHTS.findIndex((height) => shadow.height < height)].push(shadow);
    }
    context.fillStyle = '#000';
    for (const group of groups) {
      if (!group.length) continue;
      // Shadows of neighbouring limbs add up.
      const strength = group.reduce((all, { height }) => all + 0.75 / (1 + 1.5 * height), 0) / group.length;
      let dark = 0;
      for (const layer of LAYERS) {
        // What makes the layers below as dark as the middle of this one.
        const wanted = strength * softness(layer - 0.1);
        context.globalAlpha = (wanted - dark) / (1 - dark);
        dark = wanted;
        context.beginPath();
        for (const shadow of group) this.#spot(context, shadow, layer);
        context.fill();
      }
    }
    context.globalAlpha = 1;
  }

  // Middle, and the ends of its two half axes from there.
  #shadow(lens, { start, end, near, far }, floor) {
    const along = [end[0] - start[0], end[1] - start[1]];
    const length = Math.hypot(...along);
    const [u, v] = length > 1e-5 ? [along[0] / length, along[1] / length] : [1, 0];
    const height = Math.max(0, (start[2] + end[2]) / 2 - floor);
    // Higher up a ball's is within its limbs'.
    if (!length && height > HEIGHTS[0]) return null;
    const reach = 0.09 + 0.5 * (near + far) + 0.12 * height;
    const half = 0.5 * length + reach;
    const [x, y] = [(start[0] + end[0]) / 2, (start[1] + end[1]) / 2];
    const centre = lens.project(x, y, floor);
    const ahead = lens.project(x + u * half, y + v * half, floor);
    const beside = lens.project(x - v * reach, y + u * reach, floor);
    return centre && ahead && beside && { height, centre, ahead, beside };
  }

  #spot(context, { centre, ahead, beside }, size) {
    // All turn one way, or they would leave each other out.
    const turn = (ahead[0] - centre[0]) * (beside[1] - centre[1]) > (ahead[1] - centre[1]) * (beside[0] - centre[0]) ? size : -size;
    CORNERS.forEach(([c, s], i) => {
      const x = centre[0] + size * c * (ahead[0] - centre[0]) + turn * s * (beside[0] - centre[0]);
      const y = centre[1] + size * c * (ahead[1] - centre[1]) + turn * s * (beside[1] - centre[1]);
      if (i) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.closePath();
  }

  #drawTrails(context, lens, floor) {
    for (const { colour, places } of this.#strips()) {
      const edges = this.#edges(lens, places, floor);
      context.fillStyle = colour;
      for (let first = 0, last = 1; last < edges.length; last++) {
        // As far as about one age goes, one shape: shapes that overlap would show.
        const age = Math.floor(AGES * edges[first].age);
        if (last < edges.length - 1 && Math.floor(AGES * edges[last].age) === age) continue;
        const part = edges.slice(first, last + 1);
        context.globalAlpha = 0.75 * (1 - Math.min(1, (age + 0.5) / AGES));
        context.beginPath();
        for (const { left } of part) context.lineTo(left[0], left[1]);
        for (const { right } of part.reverse()) context.lineTo(right[0], right[1]);
        context.fill();
        first = last;
      }
    }
    context.globalAlpha = 1;
  }

  // The steps of figures.js, which lead from now into the past, one after the other.
  #strips() {
    const { steps } = this.figures;
    const [strips, open] = [[], new Map()];
    for (let i = 0; i < steps.count; i++) {
      const { start, end, near, far, tint } = segmentAt(steps, i);
      const kind = tint[0] + 10 * tint[1] + 100 * tint[2];
      let strip = open.get(kind);
      if (!strip || strip.reached[0] !== end[0] || strip.reached[1] !== end[1]) {
        strip = { colour: css(...tint), places: [[end[0], end[1], far]] };
        open.set(kind, strip);
        strips.push(strip);
      }
      strip.reached = start;
      strip.places.push([start[0], start[1], near]);
    }
    return strips;
  }

  // Both sides of a trail on the canvas, where it has gone on by some pixels.
  #edges(lens, places, floor) {
    const edges = [];
    let kept = null;
    places.forEach(([x, y, age], i) => {
      const here = lens.project(x, y, floor);
      if (!here || (kept && i < places.length - 1 && Math.hypot(here[0] - kept[0], here[1] - kept[1]) < STRIDE)) return;
      kept = here;
      const [before, after] = [places[Math.max(0, i - 2)], places[Math.min(places.length - 1, i + 2)]];
      const [dx, dy] = [after[0] - before[0], after[1] - before[1]];
      const wide = 0.031 * (1 - 0.6 * age) / (Math.hypot(dx, dy) || 1);
      const [left, right] = [lens.project(x - dy * wide, y + dx * wide, floor), lens.project(x + dy * wide, y - dx * wide, floor)];
      if (left && right) edges.push({ age, left, right });
    });
    return edges;
  }

  // Limbs with their depths, for painting from far to near. Balls of feet and hands lie on them, those of knees and elbows
  // within.
  limbs(lens) {
    const shapes = [];
    for (let i = 0; i < this.figures.limbs.count; i++) {
      const segment = segmentAt(this.figures.limbs, i);
      const [a, b] = [lens.project(...segment.start), lens.project(...segment.end)];
      if (!a || !b) continue;
      const ball = i % PARTS - NUM_CAPSULES;
      const nearer = ball < 0 ? 0 : ball % 2 ? 0.6 : -2;
      shapes.push({ depth: (a[2] + b[2]) / 2 - nearer * segment.near, a, b, segment, ball: ball >= 0 });
    }
    return shapes;
  }

  drawLimb(context, lens, { a, b, segment, ball }) {
    const [near, far] = [lens.focal * segment.near / a[2], lens.focal * segment.far / b[2]];
    const middle = sum(segment.start, 0.5, segment.end, 0.5);
    const toEye = unit(sum(lens.eye, 1, middle, -1));
    const light = lightFrom(toEye);
    this.#outline(context, a, b, near, far);
    // Too small for more than one colour.
    if (ball && near < SMALL) {
      context.fillStyle = shade(unit(sum(toEye, 0.85, light.key, 0.2)), light, segment.tint);
      context.fill();
      return;
    }
    // Across the limb, or across what looks round from the light to the dark.
    const round = ball || Math.hypot(b[0] - a[0], b[1] - a[1]) < (near + far) / 2;
    let across = round ? sum(light.key, 1, toEye, -dot(light.key, toEye)) : cross(sum(segment.end, 1, segment.start, -1), toEye);
    if (dot(across, across) < 1e-9) across = light.key;
    across = unit(across);
    const facing = round ? toEye : this.#facing(segment, across, toEye);
    const [x, y] = this.#onScreen(lens, across, a, b, round);
    const radius = (near + far) / 2;
    const [u, v] = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const fill = context.createLinearGradient(u - x * radius, v - y * radius, u + x * radius, v + y * radius);
    for (const s of ACROSS) fill.addColorStop((s + 1) / 2, shade(sum(across, s, facing, Math.sqrt(1 - s * s)), light, segment.tint));
    context.fillStyle = fill;
    context.fill();
  }

  // The normal of the limb's side that is towards the eye.
  #facing({ start, end }, across, toEye) {
    const normal = unit(cross(across, sum(end, 1, start, -1)));
    return dot(normal, toEye) < 0 ? sum(normal, -1, normal, 0) : normal;
  }

  // A direction of the world on the canvas; that of a limb's side is square to the limb.
  #onScreen(lens, across, a, b, round) {
    const [x, y] = [dot(across, lens.right), -dot(across, lens.up)];
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    const length = Math.hypot(dx, dy);
    if (round) return [x / (Math.hypot(x, y) || 1), y / (Math.hypot(x, y) || 1)];
    const side = dx * y - dy * x > 0 ? 1 : -1;
    return [-side * dy / length, side * dx / length];
  }

  // Two circles and their common tangents.
  #outline(context, a, b, near, far) {
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    const apart = Math.hypot(dx, dy);
    context.beginPath();
    if (apart <= Math.abs(near - far) + 1e-3) {
      const [centre, radius] = near > far ? [a, near] : [b, far];
      context.arc(centre[0], centre[1], radius, 0, 2 * Math.PI);
      return;
    }
    const turn = Math.atan2(dy, dx);
    const open = Math.acos((near - far) / apart);
    context.arc(a[0], a[1], near, turn + open, turn - open);
    context.arc(b[0], b[1], far, turn - open, turn + open);
  }

  // One standard deviation of depth, through everything.
  drawRods(context, lens) {
    const { rods } = this.figures;
    context.lineCap = 'round';
    context.globalAlpha = 0.6;
    for (let i = 0; i < rods.count; i++) {
      const { start, end, near, tint } = segmentAt(rods, i);
      const [a, b] = [lens.project(...start), lens.project(...end)];
      if (!a || !b) continue;
      context.lineWidth = 2 * near * lens.focal / ((a[2] + b[2]) / 2);
      context.strokeStyle = css(...tint.map((value) => (value + 1) / 2));
      context.beginPath();
      context.moveTo(a[0], a[1]);
      context.lineTo(b[0], b[1]);
      context.stroke();
    }
    context.globalAlpha = 1;
  }
}
