// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// The embedded video or photographs, as elements that the browser plays from memory.

import { decodeBytes } from './data.js';

function blobUrl(base64, type) {
  return URL.createObjectURL(new Blob([decodeBytes(base64)], { type }));
}

export function makeVideo(base64) {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.preload = 'auto';
  video.disablePictureInPicture = true;
  video.setAttribute('aria-label', 'Video');
  video.src = blobUrl(base64, 'video/mp4');
  return video;
}

export class Photos {
  constructor(files, names, box, shown) {
    this.files = files;
    this.shown = shown;
    this.images = new Map();
    this.element = document.createElement('img');
    this.names = names;
    box.prepend(this.element);
  }

  // Decoded ahead of time, and only a few kept: photographs are large.
  #load(frame) {
    if (!this.images.has(frame)) {
      const image = new Image();
      image.src = blobUrl(this.files[frame], 'image/jpeg');
      this.images.set(frame, { image, ready: image.decode() });
    }
    return this.images.get(frame);
  }

  async show(frame) {
    this.frame = frame;
    const { image, ready } = this.#load(frame);
    await ready;
    if (this.frame !== frame) return;
    image.alt = this.names[frame] || `Photograph ${frame + 1}`;
    this.element.replaceWith(image);
    this.element = image;
    this.shown(image);
    for (const next of [frame + 1, frame - 1]) if (this.files[next]) this.#load(next);
    for (const [other, { image: old }] of this.images) {
      if (Math.abs(other - frame) <= 2) continue;
      URL.revokeObjectURL(old.src);
      this.images.delete(other);
    }
  }
}
