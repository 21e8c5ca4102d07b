// Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
// Puts the page together: clip, picture, scene, timeline, people, buttons and keys.

import { Clip } from './data.js';
import { Overlay } from './overlay.js';
import { People } from './people.js';
import { makeVideo, Photos } from './picture.js';
import { Playback } from './playback.js';
import { SceneView } from './scene.js';
import { Statistics } from './statistics.js';
import { Timeline } from './timeline.js';

const find = (id) => document.getElementById(id);
const readJson = (id) => JSON.parse(find(id).textContent);
const NARROW = window.matchMedia('(max-width: 760px)');
const STILL = window.matchMedia('(prefers-reduced-motion: reduce)').matches;

const clip = new Clip(readJson('stereopose-data'));
const files = readJson('stereopose-media');
const video = clip.media === 'video' ? makeVideo(files[0]) : null;
const statistics = new Statistics();

let stale = true;
const refresh = () => { stale = true; };
const playback = new Playback(clip, video, refresh);
const people = new People(clip, find('people'), () => {
  timeline.resize(people.visible);
  scene.follow(people.followed);
  refresh();
});
const overlay = new Overlay(clip, find('overlay-canvas'));
const timeline = new Timeline(clip, find('timeline'), (frame) => playback.seek(frame));
const scene = new SceneView(clip, {
  canvas: find('scene-canvas'), paint: find('scene-paint'), labels: find('labels'), still: STILL,
});
const photos = clip.media === 'photos'
  ? new Photos(files, clip.names, find('frame-box'), (image) => scene.setImage(image)) : null;

// What is written once.

function plural(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

function writeTitles() {
  find('title').textContent = clip.title;
  const parts = [plural(clip.tracks.length, 'person', 'people')];
  if (clip.photos) parts.push(plural(clip.numFrames, 'photograph', 'photographs'));
  else parts.push(plural(clip.numFrames, 'frame', 'frames'), `${clip.duration.toFixed(1)} s`);
  find('summary').textContent = parts.join(' · ');
  const notes = [];
  if (clip.numFrames < clip.allFrames) notes.push(`the first ${clip.numFrames} of ${clip.allFrames} frames`);
  if (!clip.world.grounded && clip.numPoses) notes.push('ground not estimated: drawn below the feet');
  find('note').textContent = notes.join(' · ');
  find('note').title = notes.join('\n');
  find('note').hidden = !notes.length;
  document.body.classList.toggle('no-people', !clip.tracks.length);
  document.body.classList.toggle('single', clip.numFrames < 2);
  if (!clip.media) find('picture-title').textContent = 'Reprojected, without the picture';
  if (!clip.lifted.includes(1)) {
    find('scene-note').textContent = clip.numPoses ? 'No pose could be lifted' : 'No person was found';
    find('scene-note').hidden = false;
  }
}

// What changes with the frame.

let wordsWritten = 0;
function update() {
  stale = false;
  const { frame } = playback;
  document.body.classList.toggle('playing', playback.playing);
  find('play').setAttribute('aria-label', playback.playing ? 'Pause' : 'Play');
  find('speed').textContent = `${playback.speed}×`;
  timeline.show(frame);
  if (clip.camera(frame) !== fitted) fitPicture();
  overlay.draw(frame, people.visible);
  // Nobody reads words that change with each picture, and each change lays out the page anew.
  if (!playback.playing || performance.now() - wordsWritten > 150) {
    wordsWritten = performance.now();
    writeWords(frame);
  }
  scene.update(frame, people.visible);
  if (photos && photos.frame !== frame) photos.show(frame);
}

function writeWords(frame) {
  find('readout').innerHTML = clip.photos
    ? `<b>${frame + 1}</b> / ${clip.numFrames}`
    : `<b>${clip.times[frame].toFixed(2)} s</b>\nframe ${clip.numbers[frame]} · ${frame + 1}/${clip.numFrames}`;
  find('frame-name').textContent = clip.names[frame] || '';
  timeline.say(frame, `Frame ${frame + 1} of ${clip.numFrames}`);
  people.update(frame);
}

// The picture as large as its pane holds; asked for its size only when that or the picture's may have changed.
let fitted = null;
function fitPicture() {
  fitted = clip.camera(playback.frame);
  const { width, height } = fitted;
  const pane = find('picture');
  const scale = Math.min(pane.clientWidth / width, pane.clientHeight / height);
  const size = [width * scale, height * scale];
  const box = find('frame-box').style;
  [box.width, box.height] = size.map((value) => `${value}px`);
  overlay.resize(...size);
}

function resize() {
  fitPicture();
  overlay.draw(playback.frame, people.visible);
  timeline.resize(people.visible);
  const { clientWidth, clientHeight } = find('scene');
  if (clientWidth && clientHeight) scene.resize(clientWidth, clientHeight);
  refresh();
}

// Buttons and keys.

const PRESETS = { overview: 'Free', front: 'Front', side: 'Side', top: 'Top', camera: 'Camera' };
const presetButtons = {};

const layers = {
  ground: ['Grid', 'Ground grid (G)', () => scene.ground.mesh.visible, (on) => { scene.ground.mesh.visible = on; }],
  trails: ['Trails', 'Where people came from (T)', () => scene.figures.trailsShown, (on) => { scene.figures.trailsShown = on; }],
  depth: ['±σ', 'Uncertainty of depth (U)', () => scene.figures.whiskersShown, (on) => { scene.figures.whiskersShown = on; }],
  labels: ['Names', 'Names and distances (L)', () => scene.labelsShown, (on) => { scene.labelsShown = on; }],
};

function toggleLayer(name) {
  const layer = layers[name];
  if (!layer.button) return;
  layer[3](!layer[2]());
  layer.button.setAttribute('aria-pressed', layer[2]());
  refresh();
}

function toggleOverlay() {
  overlay.shown = !overlay.shown;
  find('overlay').setAttribute('aria-pressed', overlay.shown);
  refresh();
}

function go(name) {
  scene.viewpoint.go(name);
}

function makeButton(parent, words, title, action) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = words;
  button.title = title;
  button.addEventListener('click', action);
  parent.append(button);
  return button;
}

function makeButtons() {
  for (const [name, words] of Object.entries(PRESETS)) {
    const title = name === 'camera' ? 'Through the real camera (C)' : `View: ${words.toLowerCase()}`;
    presetButtons[name] = makeButton(find('presets'), words, title, () => go(name));
  }
  for (const [name, layer] of Object.entries(layers)) {
    const empty = (name === 'depth' && !clip.sigma.some((s) => s > 0)) || (name === 'trails' && clip.photos);
    if (empty) continue;
    layer.button = makeButton(find('layers'), layer[0], layer[1], () => toggleLayer(name));
    layer.button.setAttribute('aria-pressed', layer[2]());
  }
  scene.viewpoint.named = () => {
    const { name, moved } = scene.viewpoint;
    for (const [other, button] of Object.entries(presetButtons)) {
      button.setAttribute('aria-pressed', other === (moved ? 'overview' : name));
    }
  };
  find('overlay').addEventListener('click', toggleOverlay);
  find('play').addEventListener('click', () => playback.toggle());
  find('back').addEventListener('click', () => playback.step(-1));
  find('forward').addEventListener('click', () => playback.step(1));
  find('first').addEventListener('click', () => playback.seek(0));
  find('speed').addEventListener('click', () => playback.nextSpeed(1, true));
  find('help-button').addEventListener('click', toggleHelp);
  // A button clicked by hand shall not take the space bar after that.
  document.addEventListener('click', (event) => event.detail > 0 && event.target.closest('button')?.blur());
}

function toggleHelp() {
  const help = find('help');
  if (help.open) help.close();
  else help.showModal();
}

const KEYS = [
  [['Space'], 'play, pause', () => playback.toggle()],
  [['O'], 'overlay on the picture', toggleOverlay],
  [['←'], 'one frame back', () => playback.step(-1)],
  [['G'], 'ground grid', () => toggleLayer('ground')],
  [['→'], 'one frame on', () => playback.step(1)],
  [['T'], 'trails', () => toggleLayer('trails')],
  [['⇧ ←'], 'ten frames back', () => playback.step(-10)],
  [['U'], 'uncertainty of depth', () => toggleLayer('depth')],
  [['⇧ →'], 'ten frames on', () => playback.step(10)],
  [['L'], 'names', () => toggleLayer('labels')],
  [['Home'], 'first frame', () => playback.seek(0)],
  [['C'], 'through the camera, and back', () => go(scene.viewpoint.name === 'camera' ? 'overview' : 'camera')],
  [['End'], 'last frame', () => { playback.pause(); playback.seek(clip.numFrames - 1); }],
  [['F'], 'follow a person', () => people.followNearest(playback.frame)],
  [['[', ']'], 'slower, faster', (key) => playback.nextSpeed(key === '[' ? -1 : 1)],
  [['1', '…', '9'], 'show or hide a person', (key) => people.toggle(Number(key) - 1)],
  [['0'], 'show all people', () => { people.visible.fill(true); people.changed(); }],
  [['?'], 'this help', toggleHelp],
];
const ALIASES = { ' ': 'Space', ArrowLeft: '←', ArrowRight: '→' };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.closest?.('button') && (event.key === ' ' || event.key === 'Enter');
  if (onButton || (find('help').open && event.key !== '?') || (event.target.id === 'splitter' && event.key.startsWith('Arrow'))) return;
  let key = ALIASES[event.key] ?? (event.key.length === 1 ? event.key.toUpperCase() : event.key);
  if (event.shiftKey && event.key.startsWith('Arrow')) key = `⇧ ${key}`;
  const digit = /^[1-9]$/.test(key);
  const entry = KEYS.find(([names]) => names.includes(key) || (digit && names.includes('…')));
  if (!entry || key === '…') return;
  event.preventDefault();
  entry[2](key);
}

function writeHelp() {
  for (const [names, words] of KEYS) {
    const term = document.createElement('dt');
    for (const name of names) {
      const key = document.createElement(name === '…' ? 'span' : 'kbd');
      key.textContent = name;
      term.append(key);
    }
    const meaning = document.createElement('dd');
    meaning.textContent = words;
    find('keys').append(term, meaning);
  }
}

function makeSplitter() {
  const splitter = find('splitter');
  const panes = find('panes');
  const set = (share) => {
    const percent = Math.max(15, Math.min(85, share));
    panes.style.setProperty('--split', `${percent.toFixed(2)}%`);
    splitter.setAttribute('aria-valuenow', Math.round(percent));
  };
  // The picture as large as it can be without taking more than it fills, the scene the rest.
  const { width, height } = clip.camera(0);
  const room = panes.clientHeight - 64;
  if (!NARROW.matches) set(Math.max(30, Math.min(53, 100 * room * width / height / panes.clientWidth)));
  else set(Math.max(25, Math.min(50, 100 * (panes.clientWidth * height / width + 36) / panes.clientHeight)));
  splitter.addEventListener('pointerdown', (event) => splitter.setPointerCapture(event.pointerId));
  splitter.addEventListener('pointermove', (event) => {
    if (!splitter.hasPointerCapture(event.pointerId)) return;
    const box = panes.getBoundingClientRect();
    set(NARROW.matches ? 100 * (event.clientY - box.top) / box.height : 100 * (event.clientX - box.left) / box.width);
  });
  splitter.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -2, ArrowUp: -2, ArrowRight: 2, ArrowDown: 2 }[event.key];
    if (!step) return;
    event.preventDefault();
    set(Number(splitter.getAttribute('aria-valuenow')) + step);
  });
}

function loop(now) {
  const start = performance.now();
  playback.tick(now);
  if (stale) update();
  const drew = scene.tick(now, playback.playing);
  statistics.record(now, performance.now() - start, drew);
  requestAnimationFrame(loop);
}

if (video) {
  find('frame-box').prepend(video);
  // The first picture, and those of seeking while paused, come after the frame has changed.
  const arrived = () => {
    scene.needsRender = true;
    video.requestVideoFrameCallback?.(arrived);
  };
  video.requestVideoFrameCallback?.(arrived);
  video.addEventListener('loadeddata', () => scene.setVideo(video), { once: true });
}
writeTitles();
makeButtons();
writeHelp();
makeSplitter();
document.addEventListener('keydown', onKey);
scene.update(0, people.visible);
new ResizeObserver(resize).observe(find('picture'));
new ResizeObserver(resize).observe(find('scene'));
resize();
scene.viewpoint.go('overview', { atOnce: true });
requestAnimationFrame(loop);

// For tests and for pages that embed this one.
window.stereopose = {
  clip,
  get frame() { return playback.frame; },
  get playing() { return playback.playing; },
  get drawnPeople() { return scene.figures.drawn; },
  get viewpoint() { return { name: scene.viewpoint.name, settled: scene.atRest, refined: scene.refined }; },
  get pictureReady() {
    if (video) return video.readyState >= 2 && !video.seeking;
    return photos ? photos.element.complete && photos.frame === playback.frame : true;
  },
  get videoTime() { return video ? video.currentTime : null; },
  seek: (frame) => playback.seek(frame),
  play: () => playback.play(),
  pause: () => playback.pause(),
  view: go,
  toggle: (row) => people.toggle(row),
  // Where the scene draws a person's joints, in pixels of the picture; only in the camera's view.
  jointPixels(row) {
    const pose = clip.poseOf(playback.frame, row);
    if (!scene.viewpoint.throughCamera || pose < 0) return null;
    const [left, top, width] = scene.viewpoint.pictureBox();
    const scale = clip.camera(playback.frame).width / width;
    return scene.jointPixels(pose).map(([x, y]) => [(x - left) * scale, (y - top) * scale]);
  },
  // How the scene is drawn: 'auto' as quickly as it moves, 'solid' by WebGL, 'painted' without.
  drawAs: (manner) => scene.drawAs(manner),
  get pace() { return scene.pace; },
  statistics: () => ({ ...statistics.summary(), ...scene.statistics }),
  // Milliseconds to draw the scene once as it is drawn now, until the last pixel is there.
  drawingTime(times) {
    const start = performance.now();
    for (let i = 0; i < times; i++) {
      scene.draw(scene.drawn);
      scene.drawn.by.finish();
    }
    return (performance.now() - start) / times;
  },
  resetStatistics: () => statistics.reset(),
};
