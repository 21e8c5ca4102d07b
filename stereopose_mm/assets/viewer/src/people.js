// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// A chip for each person: show or hide, show alone, follow; distance and reprojection error.

const FEW = 8;
const FOLLOW = '<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="4.6"/><path d="M8 1v4M8 11v4M1 8h4M11 8h4"/></svg>';

function button(className, label, html) {
  const element = document.createElement('button');
  element.type = 'button';
  element.className = className;
  element.setAttribute('aria-label', label);
  element.title = label;
  element.innerHTML = html;
  return element;
}

export class People {
  constructor(clip, root, changed) {
    this.clip = clip;
    this.visible = clip.tracks.map(() => true);
    this.followed = -1;
    this.changed = changed;
    root.classList.toggle('many', clip.tracks.length > FEW);
    this.chips = clip.tracks.map((track, row) => this.#makeChip(track, row, root));
  }

  #makeChip(track, row, root) {
    const chip = document.createElement('div');
    chip.className = 'person';
    chip.style.setProperty('--colour', this.clip.colour(row));
    const key = row < 9 ? ` (${row + 1})` : '';
    const show = button('show', `Show person ${track}${key}`, `<i></i><b>#${Number(track)}</b><span class="values"></span>`);
    const only = button('only', `Only person ${track}`, 'only');
    const follow = button('follow', `Follow person ${track}`, FOLLOW);
    show.addEventListener('click', () => this.toggle(row));
    only.addEventListener('click', () => this.showOnly(row));
    follow.addEventListener('click', () => this.follow(row));
    chip.append(show, only, follow);
    root.append(chip);
    return { chip, show, only, follow, values: show.querySelector('.values') };
  }

  toggle(row) {
    if (row >= this.visible.length) return;
    this.visible[row] = !this.visible[row];
    this.changed();
  }

  showOnly(row) {
    const alone = this.#alone(row);
    this.visible = this.visible.map((_, other) => alone || other === row);
    this.changed();
  }

  follow(row) {
    this.followed = this.followed === row ? -1 : row;
    this.changed();
  }

  // The person that is nearest now, or whom the followed one was; for the keyboard.
  followNearest(frame) {
    if (this.followed >= 0) return this.follow(this.followed);
    let best = -1;
    for (let p = this.clip.firstPose[frame]; p < this.clip.firstPose[frame + 1]; p++) {
      if (!this.clip.lifted[p] || !this.visible[this.clip.trackOfPose[p]]) continue;
      if (best < 0 || this.clip.depth[p] < this.clip.depth[best]) best = p;
    }
    if (best >= 0) this.follow(this.clip.trackOfPose[best]);
  }

  #alone(row) {
    return this.visible.every((shown, other) => shown === (other === row)) && this.visible.length > 1;
  }

  update(frame) {
    const { clip } = this;
    const few = clip.tracks.length <= FEW;
    const poses = new Map();
    for (let p = clip.firstPose[frame]; p < clip.firstPose[frame + 1]; p++) poses.set(clip.trackOfPose[p], p);
    this.chips.forEach(({ chip, show, only, follow, values }, row) => {
      const pose = poses.get(row);
      let words = few ? 'not in this frame' : '–';
      if (pose !== undefined && !clip.lifted[pose]) words = 'not lifted';
      else if (pose !== undefined) {
        const error = clip.error[pose] >= 0 && few ? ` · off by ${clip.error[pose].toFixed(1)} px` : '';
        words = `${clip.depth[pose].toFixed(few ? 2 : 1)} m${error}`;
      }
      if (values.textContent !== words) values.textContent = words;
      chip.classList.toggle('absent', pose === undefined);
      show.setAttribute('aria-pressed', this.visible[row]);
      only.setAttribute('aria-pressed', this.#alone(row));
      follow.setAttribute('aria-pressed', this.followed === row);
    });
  }
}
