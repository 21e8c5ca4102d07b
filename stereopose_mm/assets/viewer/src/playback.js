// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// Which frame is shown: the video's own time where there is one, else a clock's.

export const SPEEDS = [0.1, 0.25, 0.5, 1, 1.5, 2, 4];

export class Playback {
  constructor(clip, video, changed) {
    this.clip = clip;
    this.video = video;
    this.changed = changed;
    this.frame = 0;
    this.playing = false;
    this.speed = 1;
    this.clock = 0;
    this.lastTick = null;
    this.pendingSeek = null;
    if (video) this.#watch(video);
  }

  #watch(video) {
    const step = (_, { mediaTime }) => {
      if (this.playing && !video.seeking) this.#show(this.clip.frameAt(mediaTime));
      video.requestVideoFrameCallback(step);
    };
    this.precise = 'requestVideoFrameCallback' in video;
    if (this.precise) video.requestVideoFrameCallback(step);
    video.addEventListener('seeked', () => {
      if (this.pendingSeek === null) return;
      const frame = this.pendingSeek;
      this.pendingSeek = null;
      this.#seekVideo(frame);
    });
    video.addEventListener('ended', () => {
      if (!this.playing) return;
      this.seek(0);
      video.play();
    });
    // The browser may pause it by itself, as when a laptop's lid closes.
    video.addEventListener('pause', () => {
      if (this.playing && !video.ended && !video.seeking) this.pause();
    });
  }

  #show(frame) {
    if (frame === this.frame) return;
    this.frame = frame;
    this.changed();
  }

  #seekVideo(frame) {
    const { times, numFrames } = this.clip;
    if (this.video.seeking) {
      this.pendingSeek = frame;
      return;
    }
    // A little into the frame: its start as rounded in the file may lie after the time asked for.
    const length = frame + 1 < numFrames ? times[frame + 1] - times[frame] : 0.02;
    this.video.currentTime = times[frame] + Math.min(0.3 * length, 0.01);
  }

  get time() {
    return this.clip.times[this.frame];
  }

  seek(frame) {
    frame = Math.max(0, Math.min(this.clip.numFrames - 1, Math.round(frame)));
    this.clock = this.clip.times[frame];
    if (this.video) this.#seekVideo(frame);
    this.#show(frame);
  }

  step(frames) {
    this.pause();
    this.seek(this.frame + frames);
  }

  play() {
    if (this.playing || this.clip.numFrames < 2) return;
    if (this.frame === this.clip.numFrames - 1) this.seek(0);
    this.playing = true;
    this.lastTick = null;
    this.clock = this.time;
    if (this.video) {
      this.video.playbackRate = this.speed;
      this.video.play().catch(() => this.pause());
    }
    this.changed();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    if (this.video) {
      this.video.pause();
      this.#seekVideo(this.frame);
    }
    this.changed();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  setSpeed(speed) {
    this.speed = speed;
    if (this.video) this.video.playbackRate = speed;
    this.changed();
  }

  nextSpeed(direction, wrap = false) {
    let place = SPEEDS.indexOf(this.speed) + direction;
    if (wrap) place %= SPEEDS.length;
    this.setSpeed(SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, place))]);
  }

  // Once for each picture of the screen.
  tick(now) {
    if (!this.playing) return;
    if (this.video) {
      if (!this.precise && !this.video.seeking) this.#show(this.clip.frameAt(this.video.currentTime));
      return;
    }
    if (this.lastTick !== null) this.clock += (now - this.lastTick) / 1000 * this.speed;
    this.lastTick = now;
    // The last frame stays as long as the one before it.
    const { times, numFrames, duration } = this.clip;
    const end = duration + (duration - times[numFrames - 2]);
    if (this.clock >= end) this.clock %= end;
    this.#show(this.clip.frameAt(this.clock));
  }
}
