// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// The scene by WebGL, where the browser has it.

import { Color, SRGBColorSpace, WebGLRenderer } from 'three';
import { BACKGROUND } from './palette.js';

// The graphics card's name; null without WebGL.
function findCard() {
  const gl = document.createElement('canvas').getContext('webgl2');
  const info = gl?.getExtension('WEBGL_debug_renderer_info');
  const name = info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : '';
  gl?.getExtension('WEBGL_lose_context')?.loseContext();
  return gl && name;
}

export class Solid {
  constructor(canvas, card) {
    this.canvas = canvas;
    // Without a card each picture takes a hundred milliseconds, smooth edges five times as many: it draws only the
    // scene at rest, and that from twice the pixels.
    this.software = /swiftshader|llvmpipe|software|basic render/i.test(card);
    this.renderer = new WebGLRenderer({ canvas, antialias: !this.software, powerPreference: 'high-performance' });
    this.renderer.setClearColor(new Color().setRGB(...BACKGROUND.map((value) => value / 255), SRGBColorSpace));
  }

  // Null where there is no WebGL.
  static make(canvas) {
    const card = findCard();
    try {
      return card === null ? null : new Solid(canvas, card);
    } catch {
      return null;
    }
  }

  draw(scene, camera, size, density) {
    const { renderer } = this;
    if (renderer.getPixelRatio() !== density) renderer.setPixelRatio(density);
    const [width, height] = size.map((value) => Math.floor(value * density));
    if (this.canvas.width !== width || this.canvas.height !== height) renderer.setSize(...size, false);
    renderer.render(scene, camera);
  }

  // Until the last pixel is there.
  finish() {
    const gl = this.renderer.getContext();
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  }
}
