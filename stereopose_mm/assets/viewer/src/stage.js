// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// The ground, and the camera that took the picture: its pyramid with the picture in it.

import {
  BufferAttribute, BufferGeometry, DoubleSide, LineBasicMaterial, LineSegments, Mesh, MeshBasicMaterial, PlaneGeometry,
  ShaderMaterial, Vector3,
} from 'three';

const GROUND_VERTEX = /* glsl */ `
  uniform vec3 centre;
  uniform float reach;
  varying vec2 vPlace, vLocal;
  void main() {
    vLocal = position.xy;
    vPlace = centre.xy + position.xy * reach;
    gl_Position = projectionMatrix * viewMatrix * vec4(vPlace, centre.z, 1.0);
  }`;

// Lines every metre, stronger ones every five, as thin as a pixel and fading where they crowd.
const GROUND_FRAGMENT = /* glsl */ `
  uniform float strength, filled;
  varying vec2 vPlace, vLocal;
  float lines(float step, float width) {
    vec2 place = vPlace / step, size = fwidth(place);
    vec2 near = abs(fract(place - 0.5) - 0.5) / size;
    return (1.0 - smoothstep(width - 0.5, width + 0.5, min(near.x, near.y))) * (1.0 - smoothstep(0.15, 0.6, max(size.x, size.y)));
  }
  void main() {
    float fade = 1.0 - smoothstep(0.25, 1.0, length(vLocal));
    float line = max(0.55 * lines(1.0, 0.6), lines(5.0, 0.9));
    vec3 colour = mix(vec3(0.0137, 0.0203, 0.0320), vec3(0.0497, 0.0742, 0.1095), line);
    gl_FragColor = vec4(colour, fade * strength * max(line, filled));
    #include <colorspace_fragment>
  }`;

export class Ground {
  constructor(group) {
    this.uniforms = { centre: { value: new Vector3() }, reach: { value: 20 }, strength: { value: 1 }, filled: { value: 0.75 } };
    this.mesh = new Mesh(new PlaneGeometry(2, 2), new ShaderMaterial({
      transparent: true, depthWrite: false, side: DoubleSide, uniforms: this.uniforms,
      vertexShader: GROUND_VERTEX, fragmentShader: GROUND_FRAGMENT,
    }));
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = 1;
    group.add(this.mesh);
  }

  place(centre, height, reach) {
    this.uniforms.centre.value.set(centre.x, centre.y, height);
    this.uniforms.reach.value = reach;
  }
}

export class Pyramid {
  constructor(clip, group) {
    this.clip = clip;
    this.camera = null;
    this.lines = new LineSegments(new BufferGeometry(), new LineBasicMaterial({ color: '#8d9aab', transparent: true, opacity: 0.9 }));
    this.picture = new Mesh(new BufferGeometry(), new MeshBasicMaterial({ side: DoubleSide, toneMapped: false }));
    this.picture.visible = false;
    for (const part of [this.lines, this.picture]) {
      part.frustumCulled = false;
      group.add(part);
    }
  }

  // As large as reads well from where the people are.
  setCamera(camera, size) {
    if (camera === this.camera) return;
    this.camera = camera;
    const { net, rays } = camera;
    const { rotation: r, translation: t } = this.clip.world;
    const points = new Float32Array(net * net * 3);
    const corners = new Float32Array(net * net * 2);
    for (let i = 0; i < net * net; i++) {
      const ray = [rays[i * 2] * size, rays[i * 2 + 1] * size, size];
      for (let k = 0; k < 3; k++) points[i * 3 + k] = r[k * 3] * ray[0] + r[k * 3 + 1] * ray[1] + r[k * 3 + 2] * ray[2] + t[k];
      corners[i * 2] = (i % net) / (net - 1);
      corners[i * 2 + 1] = 1 - Math.floor(i / net) / (net - 1);
    }
    const index = [];
    for (let row = 0; row < net - 1; row++) {
      for (let column = 0; column < net - 1; column++) {
        const a = row * net + column;
        index.push(a, a + net, a + 1, a + 1, a + net, a + net + 1);
      }
    }
    const { geometry } = this.picture;
    geometry.setAttribute('position', new BufferAttribute(points, 3));
    geometry.setAttribute('uv', new BufferAttribute(corners, 2));
    geometry.setIndex(index);
    this.#drawEdges(points, net, t);
  }

  #drawEdges(points, net, eye) {
    const at = (row, column) => Array.from(points.subarray((row * net + column) * 3, (row * net + column) * 3 + 3));
    const last = net - 1;
    const edges = [];
    for (const [row, column] of [[0, 0], [0, last], [last, 0], [last, last]]) edges.push(...eye, ...at(row, column));
    for (let i = 0; i < last; i++) {
      for (const side of [0, last]) edges.push(...at(side, i), ...at(side, i + 1), ...at(i, side), ...at(i + 1, side));
    }
    this.lines.geometry.dispose();
    this.lines.geometry = new BufferGeometry();
    this.lines.geometry.setAttribute('position', new BufferAttribute(new Float32Array(edges), 3));
  }

  // Seen from the camera itself the picture lies behind everything.
  asBackground(yes) {
    this.lines.visible = !yes;
    this.picture.material.depthTest = this.picture.material.depthWrite = !yes;
    this.picture.renderOrder = yes ? -1 : 0;
    this.picture.material.color.set(yes ? '#b4b4b4' : '#ffffff');
  }

  setTexture(texture) {
    if (this.picture.material.map !== texture) {
      this.picture.material.map = texture;
      this.picture.material.needsUpdate = true;
    }
    this.picture.visible = Boolean(texture);
  }
}
