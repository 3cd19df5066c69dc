// The page of a model: it computes z = f(x) and x̂ = g(z) with the weights that the page carries, and draws them.
//
//   x, d     the input, d numbers (the pixels of an image or the columns of a table)
//   z, k     its code, k numbers
//   f, g     the encoder and the decoder: lists of steps, each of which is one formula below
//
// Nothing here is sent anywhere, and no text of the data becomes HTML. A module is strict and has no globals.

const $ = (id) => document.getElementById(id);
const model = JSON.parse($('model').textContent);
const numbers = Uint8Array.from(atob($('numbers').textContent.trim()), (c) => c.charCodeAt(0)).buffer;
const { d, k, ranges, labels } = model;
const [height, width] = model.image_shape ?? [1, d];
const isImage = model.image_shape !== null;

// --- arrays ----------------------------------------------------------------------------------------------------------

const TYPES = { float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array };

/** The numbers at a place of the block; those of a quantised matrix are q_ij s_j, rounded as NumPy rounds them. */
function array(place) {
  const Type = TYPES[place.dtype], size = place.shape.reduce((a, b) => a * b, 1);
  const q = new Type(numbers.slice(place.at, place.at + size * Type.BYTES_PER_ELEMENT));
  if (!place.scale) return q;
  const s = array(place.scale);
  return Float32Array.from(q, (q_ij, i) => q_ij * s[i % s.length]);
}

/** A step whose places have become arrays. */
const loaded = (step) =>
  Object.fromEntries(Object.entries(step).map(([name, value]) => [name, value?.dtype ? array(value) : value]));

const rows = (a, n) => Array.from({ length: a.length / n }, (_, i) => a.subarray(i * n, (i + 1) * n));

// --- the formulas ----------------------------------------------------------------------------------------------------

const formulas = {
  /** y_j = Σ_i x_i W_ij + b_j, with W (n_in, n_out). */
  dense(x, { W, b }) {
    const y = Float64Array.from(b), n = y.length;
    for (let i = 0; i < x.length; i++) {
      const x_i = x[i];
      if (x_i !== 0) for (let j = 0, at = i * n; j < n; j++, at++) y[j] += x_i * W[at];
    }
    return y;
  },

  /** y_j = Σ_i x_i W_ji + b_j, with W (n_out, n_in): a dense step with the W of another, transposed. */
  tied(x, { W, b }) {
    const n = x.length;
    return Float64Array.from(b, (b_j, j) => {
      let y_j = b_j;
      for (let i = 0, at = j * n; i < n; i++, at++) y_j += x[i] * W[at];
      return y_j;
    });
  },

  subtract: (x, { mean }) => x.map((x_i, i) => x_i - mean[i]),
  relu: (x) => x.map((x_i) => Math.max(x_i, 0)),
  leaky_relu: (x, { slope }) => x.map((x_i) => (x_i > 0 ? x_i : slope * x_i)),
  elu: (x, { alpha }) => x.map((x_i) => (x_i > 0 ? x_i : alpha * Math.expm1(x_i))),
  sigmoid: (x) => x.map((x_i) => 1 / (1 + Math.exp(-x_i))),
  tanh: (x) => x.map(Math.tanh),

  /** The k largest numbers stay; of equal ones the first. */
  top_k(x, { k }) {
    const kept = Array.from(x.keys()).sort((i, j) => x[j] - x[i] || i - j).slice(0, k);
    const y = new Float64Array(x.length);
    for (const i of kept) y[i] = x[i];
    return y;
  },

  /** μ of (μ, log σ²). */
  mean: (x, { k }) => x.slice(0, k),
};

const run = (steps, x) => steps.reduce((y, step) => formulas[step.step](y, step), Float64Array.from(x));

const noises = {
  /** x + level · e, clipped. */
  gaussian: (x, level, { e }, { low, high }) =>
    x.map((x_j, j) => Math.min(Math.max(x_j + level * e[j], low ?? -Infinity), high ?? Infinity)),

  masking: (x, level, { u }) => x.map((x_j, j) => (u[j] < level ? 0 : x_j)),

  salt_and_pepper: (x, level, { u }, { low, high }) =>
    x.map((x_j, j) => (u[j] < level / 2 ? low : u[j] < level ? high : x_j)),
};

/** A number of N(0, 1) (Box and Muller, 1958). */
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

const squaredError = (x, x_hat) => x.reduce((sum, x_j, j) => sum + (x_hat[j] - x_j) ** 2, 0);

// --- the model and what is shown ------------------------------------------------------------------------------------

const frames = model.frames.map(({ epoch, loss, f, g, points }) => ({
  epoch, loss, f: f.map(loaded), g: g.map(loaded), points: rows(array(points), 2),
}));
const examples = (({ dtype, shape, ...place }) => {
  const scale = dtype === 'uint8' ? 255 : 1;  // grey images are stored as bytes
  return rows(Float64Array.from(array({ dtype, shape, ...place }), (x_j) => x_j / scale), d);
})(model.examples);
const labelOf = model.label_of ? array(model.label_of) : null;

const now = {
  frame: frames.at(-1), x: examples[0], z: null, x_hat: null, byHand: false,  // z was moved away from f(x)
  level: 0, noise: null, unit: null, layer: 'first', hidden: new Set(),
};

const encode = (x, frame = now.frame) => run(frame.f, x);
const decode = (z, frame = now.frame) => run(frame.g, z);

/** What f sees: x, with the noise of the slider. */
function seen() {
  const { noise } = model;
  return noise && now.level > 0 ? noises[noise.kind](now.x, now.level, now.noise, noise) : now.x;
}

function freshNoise() {
  now.noise = { e: Float64Array.from({ length: d }, normal), u: Float64Array.from({ length: d }, Math.random) };
}

/** Show another input. */
function showInput(x) {
  now.x = Float64Array.from(x);
  now.byHand = false;
  update();
}

/** Show another code, whichever input it belongs to. */
function showCode(z) {
  now.z = Float64Array.from(z);
  now.byHand = true;
  update();
}

function update() {
  const x = seen();
  if (!now.byHand) now.z = encode(x);
  now.x_hat = decode(now.z);
  if (isImage) drawImages(x);
  else drawFeatures();
  drawCode();
  drawMap();
  drawUnit();
  drawFilm();
  $('encode').disabled = !now.byHand;
}

// --- drawing --------------------------------------------------------------------------------------------------------

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
let palette;

function readColours() {
  palette = Object.fromEntries(
    ['paper', 'pen', 'below', 'above', 'ink', 'muted', 'line', 'accent', 'panel'].map((name) => [name, colour(name)]),
  );
  palette.labels = Array.from({ length: 12 }, (_, i) => colour(`label${i}`));
}

/** Colours between two, for t from 0 to 1. */
function between(from, to) {
  const [a, b] = [channels(from), channels(to)];
  return (t) => a.map((a_c, c) => a_c + (b[c] - a_c) * Math.min(Math.max(t, 0), 1));
}

/** From white paper to black ink. */
function greys() {
  const ink = between(palette.paper, palette.pen);
  return (x_j) => ink((x_j - ranges.low) / (ranges.high - ranges.low || 1));
}

/** Blue below 0, the colour of paper at 0, orange above, full at ± most. */
function diverging(most) {
  const below = between(palette.paper, palette.below), above = between(palette.paper, palette.above);
  return (value) => (value < 0 ? below(-value / most) : above(value / most));
}

/** Draw numbers as the pixels of a canvas, `columns` images of h x w in a row. */
function drawPixels(canvas, images, colours, { h = height, w = width, columns = 1, gap = 0 } = {}) {
  const lines = Math.ceil(images.length / columns);
  canvas.width = columns * (w + gap) - gap;
  canvas.height = lines * (h + gap) - gap;
  const context = canvas.getContext('2d'), pixels = context.createImageData(canvas.width, canvas.height);
  images.forEach((image, n) => {
    const left = (n % columns) * (w + gap), top = Math.floor(n / columns) * (h + gap);
    for (let j = 0; j < h * w; j++) {
      const at = 4 * ((top + Math.floor(j / w)) * canvas.width + left + (j % w)), [r, g, b] = colours(image[j], n);
      pixels.data[at] = r, pixels.data[at + 1] = g, pixels.data[at + 2] = b, pixels.data[at + 3] = 255;
    }
  });
  context.putImageData(pixels, 0, 0);
}

/** A canvas as sharp as the screen, in units of its size on the page. */
function sharp(canvas) {
  const ratio = window.devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = canvas;
  canvas.width = Math.round(w * ratio);
  canvas.height = Math.round(h * ratio);
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  return { context, w, h };
}

function drawImages(x) {
  const grey = greys(), most = ranges.high - ranges.low || 1;
  drawPixels($('x'), [now.x], grey);
  if (model.noise) drawPixels($('noisy'), [x], grey);
  drawPixels($('x_hat'), [now.x_hat], grey);
  drawPixels($('difference'), [now.x_hat.map((x_hat_j, j) => x_hat_j - now.x[j])], diverging(most));
  $('error').textContent = short(squaredError(now.x, now.x_hat));
  for (const id of ['x', 'noisy', 'difference']) $(id).classList.toggle('aside', now.byHand);
}

/** A number in about three digits. */
function short(value) {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(1) : value.toFixed(digits);
  return text.replace('-', '−');
}

/** A new element; children that are text stay text. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// --- the code ------------------------------------------------------------------------------------------------------

const { order, code } = model;
const subscript = (j) => String(j + 1).replace(/\d/g, (digit) => '₀₁₂₃₄₅₆₇₈₉'[digit]);
const sliders = order.map((j) => {
  const flat = code.low[j] === code.high[j];  // a number that never changes can be moved all the same
  const input = element('input', { type: 'range', step: 'any' });
  input.min = flat ? code.low[j] - 1 : code.low[j];
  input.max = flat ? code.high[j] + 1 : code.high[j];
  input.setAttribute('aria-label', `number ${j + 1} of the code, from ${short(code.low[j])} to ${short(code.high[j])}`);
  input.title = `in the data from ${short(code.low[j])} to ${short(code.high[j])}, variance ${short(code.std[j] ** 2)}`;
  input.addEventListener('input', () => showCode(now.z.with(j, Number(input.value))));
  const output = element('output');
  const name = element('i', { textContent: `z${subscript(j)}` });
  $('code').append(element('div', { className: 'code' }, name, input, output));
  return { j, input, output };
});

function drawCode() {
  for (const { j, input, output } of sliders) {
    input.value = now.z[j];
    output.textContent = short(now.z[j]);
  }
  const { context, w, h } = sharp($('bars')), low = Math.min(0, ...code.low), high = Math.max(0, ...code.high);
  const y = (value) => 3 + (h - 6) * (1 - (Math.min(Math.max(value, low), high) - low) / (high - low || 1));
  const slot = w / k, bar = Math.min(Math.max(slot * 0.62, 1), 44);
  order.forEach((j, n) => {
    const left = (n + 0.5) * slot - bar / 2;
    context.fillStyle = palette.line;  // the range in the data
    context.fillRect(left, y(code.high[j]), bar, Math.max(y(code.low[j]) - y(code.high[j]), 1));
    context.fillStyle = now.z[j] < 0 ? palette.below : palette.above;
    context.fillRect(left, Math.min(y(now.z[j]), y(0)), bar, Math.max(Math.abs(y(now.z[j]) - y(0)), 1));
  });
  context.fillStyle = palette.muted;
  context.fillRect(0, y(0) - 0.5, w, 1);
}

// --- the map: z lies at (z - centre) D ------------------------------------------------------------------------------

const { centre, D } = model;
const place = (z) => [0, 1].map((c) => z.reduce((sum, z_j, j) => sum + (z_j - centre[j]) * D[j][c], 0));
const corners = ((all) => [0, 1].map((c) => {
  let low = Infinity, high = -Infinity;
  for (const p of all) low = Math.min(low, p[c]), high = Math.max(high, p[c]);
  const margin = 0.06 * (high - low || 1);
  return [low - margin, high + margin];
}))(frames.flatMap((frame) => frame.points));
const dots = { key: null, canvas: document.createElement('canvas') };  // the points, drawn once for each key

const onMap = (p, w, h) => [
  (w * (p[0] - corners[0][0])) / (corners[0][1] - corners[0][0]),
  h - (h * (p[1] - corners[1][0])) / (corners[1][1] - corners[1][0]),
];
const offMap = (left, top, w, h) => [
  corners[0][0] + (left / w) * (corners[0][1] - corners[0][0]),
  corners[1][0] + (1 - top / h) * (corners[1][1] - corners[1][0]),
];

/** The code that lies at p on the map: z moves along the two directions and keeps what they do not show. */
function moved(z, p) {
  const [a, b] = place(z).map((now_c, c) => p[c] - now_c);
  return z.map((z_j, j) => z_j + a * D[j][0] + b * D[j][1]);
}

function drawMap() {
  const { context, w, h } = sharp($('codes'));
  const atlas = isImage && $('atlas').checked;
  const rest = atlas && Array.from(moved(now.z, [0, 0]), (z_j) => z_j.toFixed(6));  // what the map does not show of z
  const key = [w, h, frames.indexOf(now.frame), [...now.hidden], palette.paper, rest].join();
  if (dots.key !== key) {
    dots.key = key;
    dots.canvas.width = $('codes').width;
    dots.canvas.height = $('codes').height;
    const quiet = dots.canvas.getContext('2d');
    quiet.scale(dots.canvas.width / w, dots.canvas.height / h);
    if (atlas) drawAtlas(quiet, w, h);
    else drawPoints(quiet, w, h);
  }
  context.drawImage(dots.canvas, 0, 0, w, h);
  const [left, top] = onMap(k === 1 ? [place(now.z)[0], 0] : place(now.z), w, h);
  context.lineWidth = 1;
  context.strokeStyle = palette.muted;
  context.globalAlpha = 0.5;
  context.beginPath();
  context.moveTo(left, 0), context.lineTo(left, h);
  if (k > 1) context.moveTo(0, top), context.lineTo(w, top);
  context.stroke();
  context.globalAlpha = 1;
  context.lineWidth = 2.5;
  context.strokeStyle = palette.panel;
  context.fillStyle = palette.ink;
  context.beginPath();
  context.arc(left, top, 6.5, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
  if (isImage && now.byHand) drawPreview(context, left, top, w, h);
}

/** The decoder's image beside the place. */
function drawPreview(context, left, top, w, h) {
  const sheet = document.createElement('canvas'), high = Math.min(96, h / 3), wide = (high * width) / height;
  drawPixels(sheet, [now.x_hat], greys());
  const x = left + 16 + wide < w ? left + 16 : left - 16 - wide;
  const y = Math.min(Math.max(top - high / 2, 2), h - high - 2);
  context.imageSmoothingEnabled = false;
  context.drawImage(sheet, x, y, wide, high);
  context.lineWidth = 1.5;
  context.strokeStyle = palette.accent;
  context.strokeRect(x, y, wide, high);
}

function drawPoints(context, w, h) {
  context.fillStyle = palette.paper;
  context.fillRect(0, 0, w, h);
  if (model.samples && k === 2) {  // two rings of N(0, I)
    context.strokeStyle = palette.line;
    for (const radius of [1, 2]) {
      const [[x0, y0], [x1, y1]] = [onMap([0, 0], w, h), onMap([radius, radius], w, h)];
      context.beginPath();
      context.ellipse(x0, y0, x1 - x0, y0 - y1, 0, 0, 2 * Math.PI);
      context.stroke();
    }
  }
  context.globalAlpha = 0.75;
  now.frame.points.forEach((p, n) => {
    if (labelOf && now.hidden.has(labelOf[n])) return;
    const [left, top] = onMap(p, w, h);
    context.fillStyle = labelOf ? palette.labels[labelOf[n]] : palette.accent;
    context.beginPath();
    context.arc(left, top, 2.2, 0, 2 * Math.PI);
    context.fill();
  });
  context.globalAlpha = 1;
  if (labelOf && k > 1) labels.forEach((label, kind) => drawLabel(context, w, h, label, kind));
}

/** A label at the median of its points. */
function drawLabel(context, w, h, label, kind) {
  const its = now.frame.points.filter((_, n) => labelOf[n] === kind);
  if (now.hidden.has(kind) || its.length === 0) return;
  const median = [0, 1].map((c) => its.map((p) => p[c]).sort((a, b) => a - b)[its.length >> 1]);
  const [left, top] = onMap(median, w, h), text = label.length > 14 ? `${label.slice(0, 13)}…` : label;
  context.font = '700 17px system-ui, sans-serif';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = 5;
  context.strokeStyle = palette.paper;
  context.strokeText(text, left, top);
  context.fillStyle = palette.labels[kind];
  context.fillText(text, left, top);
}

/** The decoder's image of each place. */
function drawAtlas(context, w, h) {
  const across = 15, down = Math.max(2, Math.round((across * h * width) / (w * height)));
  const images = [];
  for (let i = 0; i < down; i++) {
    for (let j = 0; j < across; j++) images.push(decode(moved(now.z, offMap(j + 0.5, i + 0.5, across, down))));
  }
  const sheet = document.createElement('canvas');
  drawPixels(sheet, images, greys(), { columns: across });
  context.drawImage(sheet, 0, 0, w, h);
}

/** Move the code to where the pointer is. */
function follow(event) {
  const box = $('codes').getBoundingClientRect();
  const p = offMap(event.clientX - box.left, event.clientY - box.top, box.width, box.height);
  showCode(moved(now.z, k === 1 ? [p[0], 0] : p));
}

/** Call `act` with each event of a pointer from its press to its release. */
function drag(canvas, act, end = () => {}) {
  canvas.addEventListener('pointerdown', (event) => {
    if (event.pointerId > 0 && event.isTrusted) canvas.setPointerCapture(event.pointerId);
    canvas.dataset.down = 'yes';
    act(event, true);
  });
  canvas.addEventListener('pointermove', (event) => canvas.dataset.down && act(event, false));
  for (const name of ['pointerup', 'pointercancel']) {
    canvas.addEventListener(name, () => canvas.dataset.down && (delete canvas.dataset.down, end()));
  }
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Call `act` with the direction of an arrow key. */
function arrows(canvas, act) {
  canvas.addEventListener('keydown', (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    act(...arrow);
  });
}

function setUpMap() {
  drag($('codes'), follow);
  arrows($('codes'), (right, down) => {
    const p = place(now.z), step = (c) => (corners[c][1] - corners[c][0]) / 60;
    showCode(moved(now.z, k === 1 ? [p[0] + right * step(0), 0] : [p[0] + right * step(0), p[1] - down * step(1)]));
  });
  $('map-caption').textContent = k === 1 ? 'one number, spread out upwards: drag along it'
    : k === 2 ? 'its two numbers: drag, and the decoder draws'
    : `the two main directions of ${k} numbers: drag`;
  $('legend').hidden = !labels.length;
  labels.forEach((label, kind) => {
    const button = element('button', { type: 'button', title: 'show or hide' }, element('i'), label);
    button.style.setProperty('--tint', `var(--label${kind})`);
    button.setAttribute('aria-pressed', 'true');
    button.addEventListener('click', () => {
      if (!now.hidden.delete(kind)) now.hidden.add(kind);
      button.setAttribute('aria-pressed', String(!now.hidden.has(kind)));
      drawMap();
    });
    $('legend').append(button);
  });
  $('atlas').addEventListener('change', drawMap);
  $('encode').addEventListener('click', () => showInput(now.x));
}

// --- the input: an image to draw on ---------------------------------------------------------------------------------

const pen = { last: null, at: [width >> 1, height >> 1], erase: false };

/** Draw a stroke of a soft pen between two places, in pixels. */
function stroke([x0, y0], [x1, y1]) {
  const x = Float64Array.from(now.x), radius = Math.max(0.8, 0.048 * Math.min(width, height));
  const steps = Math.ceil(Math.hypot(x1 - x0, y1 - y0) * 2) || 1;
  for (let t = 0; t <= steps; t++) {
    const [px, py] = [x0 + ((x1 - x0) * t) / steps, y0 + ((y1 - y0) * t) / steps];
    for (let j = 0; j < d; j++) {
      const distance = Math.hypot((j % width) + 0.5 - px, Math.floor(j / width) + 0.5 - py);
      const ink = Math.min(1, Math.max(0, radius + 0.5 - distance));
      if (ink === 0) continue;
      const share = ink * (ranges.high - ranges.low);
      x[j] = pen.erase ? Math.min(x[j], ranges.high - share) : Math.max(x[j], ranges.low + share);
    }
  }
  showInput(x);
}

/** Move the drawing's centre of mass to the middle, where the training digits have theirs. */
function centred(x) {
  let mass = 0, right = 0, down = 0;
  x.forEach((x_j, j) => {
    const m = x_j - ranges.low;
    mass += m, right += m * (j % width), down += m * Math.floor(j / width);
  });
  if (mass === 0) return x;
  const dx = Math.round((width - 1) / 2 - right / mass), dy = Math.round((height - 1) / 2 - down / mass);
  return x.map((_, j) => {
    const [i, l] = [Math.floor(j / width) - dy, (j % width) - dx];
    return i >= 0 && i < height && l >= 0 && l < width ? x[i * width + l] : ranges.low;
  });
}

function setUpDrawing() {
  const canvas = $('x');
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  drag(canvas, (event, first) => {
    const to = at(event);
    stroke(first ? to : pen.last, to);
    pen.last = to;
  });
  const showPen = () => Object.assign($('pen').style, {
    left: `${(100 * pen.at[0]) / width}%`, top: `${(100 * pen.at[1]) / height}%`,
    width: `${100 / width}%`, height: `${100 / height}%`,
  });
  arrows(canvas, (right, down) => {
    pen.at = [Math.min(Math.max(pen.at[0] + right, 0), width - 1), Math.min(Math.max(pen.at[1] + down, 0), height - 1)];
    showPen();
  });
  canvas.addEventListener('keydown', (event) => {
    if (event.key !== ' ') return;
    event.preventDefault();
    const middle = pen.at.map((c) => c + 0.5);
    stroke(middle, middle);
  });
  $('erase').addEventListener('click', () => {
    pen.erase = !pen.erase;
    $('erase').setAttribute('aria-pressed', String(pen.erase));
  });
  $('clear').addEventListener('click', () => showInput(new Float64Array(d).fill(ranges.low)));
  $('centre').addEventListener('click', () => showInput(centred(now.x)));
  showPen();
}

// --- the input: the columns of a table ------------------------------------------------------------------------------

const features = [];
const measured = (x_j, j) => short(model.a[j] * x_j + model.c[j]);  // as it was before a scaler

function setUpFeatures() {
  model.names.forEach((name, j) => {
    const input = element('input', { type: 'range', step: 'any' });
    input.min = ranges.low[j], input.max = ranges.high[j];
    input.setAttribute('aria-label', name);
    input.addEventListener('input', () => showInput(now.x.with(j, Number(input.value))));
    const value = element('output'), x_hat = element('output'), bar = element('b');
    const unit = element('small', { textContent: model.units[j] ? ` ${model.units[j]}` : '' });
    $('features').append(element('tr', {}, element('td', {}, name, unit), element('td', {}, input),
      element('td', { className: 'figure' }, value), element('td', { className: 'figure' }, x_hat),
      element('td', {}, element('div', { className: 'deviation' }, bar))));
    features.push({ input, value, x_hat, bar });
  });
}

const MOST = 1;  // deviations at the end of a bar

function setBar(bar, value) {
  const share = Math.min(Math.abs(value), 1) * 50;
  Object.assign(bar.style, {
    left: `${value < 0 ? 50 - share : 50}%`, width: `${share}%`,
    background: value < 0 ? 'var(--below)' : 'var(--above)',
  });
}

function drawFeatures() {
  features.forEach(({ input, value, x_hat, bar }, j) => {
    input.value = now.x[j];
    value.textContent = input.ariaValueText = measured(now.x[j], j);
    x_hat.textContent = measured(now.x_hat[j], j);
    const error = (now.x_hat[j] - now.x[j]) / (ranges.std[j] || 1);
    setBar(bar, error / MOST);
    bar.title = `${short(error)} standard deviations`;
  });
  $('features').classList.toggle('elsewhere', now.byHand);
}

// --- examples, samples, noise, epochs ------------------------------------------------------------------------------

const thumbs = new Map();  // a button -> what draws its picture, again in other colours

/** A small picture of x, or for a row of a table its number, that acts when it is pressed. */
function thumb(x, i, text, act) {
  const button = element('button', { type: 'button', className: 'thumb' });
  button.setAttribute('aria-label', text);
  button.title = text;
  button.addEventListener('click', act);
  if (isImage) {
    const canvas = document.createElement('canvas');
    button.append(canvas);
    const draw = () => drawPixels(canvas, [x], greys());
    thumbs.set(button, draw);
    draw();
  } else {
    button.textContent = i + 1;
    button.classList.add('text');
  }
  return button;
}

function setUpExamples() {
  for (const id of ['examples', 'samples']) $(id).classList.toggle('even', isImage);
  examples.forEach((x, i) => {
    const kind = model.example_labels?.[i], text = `example ${i + 1}${kind === undefined ? '' : `, ${labels[kind]}`}`;
    const button = thumb(x, i, text, () => showInput(x));
    if (kind !== undefined) {
      button.style.setProperty('--tint', `var(--label${kind})`);
      button.append(element('i'));
    }
    $('examples').append(button);
  });
  $('examples-caption').textContent = `${isImage ? 'images' : 'rows'} of the data: choose one`;
}

function setUpSamples() {
  $('samples-card').hidden = !model.samples;
  const draw = () => {
    $('samples').replaceChildren(...Array.from({ length: isImage ? 40 : 12 }, (_, i) => {
      const z = Float64Array.from({ length: k }, normal);
      return thumb(decode(z), i, `sample ${i + 1}`, () => showCode(z));
    }));
  };
  $('draw').addEventListener('click', draw);
  if (model.samples) draw();
}

const NOISE_NAMES = { gaussian: 'deviation', masking: 'share at 0', salt_and_pepper: 'share at an end' };

function setUpNoise() {
  $('noise-card').hidden = !model.noise;
  if (!model.noise) return;
  $('x_hat-caption').textContent = 'denoised';
  freshNoise();
  now.level = model.noise.level;
  $('noise-name').textContent = NOISE_NAMES[model.noise.kind];
  $('noise').setAttribute('aria-label', `noise, ${NOISE_NAMES[model.noise.kind]}`);
  $('noise').max = model.noise.most;
  $('noise').value = now.level;
  const show = () => {
    now.level = Number($('noise').value);
    $('noise-level').textContent = now.level.toFixed(2);
  };
  show();
  $('noise').addEventListener('input', () => (show(), showInput(now.x)));
  $('fresh').addEventListener('click', () => (freshNoise(), showInput(now.x)));
}

const film = [];

function setUpFilm() {
  $('film-card').hidden = frames.length < 2;
  if (frames.length < 2) return;
  $('epoch').max = frames.length - 1;
  const show = (n) => {
    now.frame = frames[n];
    if (now.byHand) update();
    else showInput(now.x);
  };
  frames.forEach((frame, n) => {
    const button = element('button', { type: 'button', className: 'thumb' });
    button.title = `epoch ${frame.epoch}, loss ${short(frame.loss)}`;
    const canvas = document.createElement('canvas');
    if (isImage) button.append(canvas);
    button.append(element('span', { textContent: frame.epoch }));
    button.addEventListener('click', () => show(n));
    $('film').append(button);
    film.push({ frame, button, canvas });
  });
  $('epoch').addEventListener('input', () => show(Number($('epoch').value)));
}

function drawFilm() {
  const x = seen(), grey = isImage && greys();
  film.forEach(({ frame, button, canvas }, n) => {
    if (isImage) drawPixels(canvas, [decode(now.byHand ? now.z : encode(x, frame), frame)], grey);
    button.setAttribute('aria-pressed', String(frame === now.frame));
    if (frame !== now.frame) return;
    $('epoch').value = n;
    $('epoch-name').textContent = `${frame.epoch}, training loss ${short(frame.loss)}`;
  });
}

// --- the weights of a unit -----------------------------------------------------------------------------------------

/** The weights between the data and the units of the first or the last layer, (units, d), if that layer has any. */
function weightsOf(layer) {
  const steps = layer === 'first' ? now.frame.f : now.frame.g;
  const step = layer === 'first' ? steps.find(({ W }) => W) : steps.findLast(({ W }) => W);
  if (!step || step.W.length % d) return null;
  const n = step.W.length / d;
  const alongRows = (layer === 'last') === (step.step === 'dense');  // W (n, d), else W (d, n)
  if (step.step === 'dense' ? step.b.length !== (layer === 'first' ? n : d) : layer === 'first') return null;
  const units = Array.from({ length: n }, (_, u) =>
    Float64Array.from({ length: d }, (_, j) => (alongRows ? step.W[u * d + j] : step.W[j * n + u])));
  const upTo = steps.slice(0, steps.indexOf(step) + (layer === 'first' ? 1 : 0));
  return { units, b: layer === 'first' ? step.b : null, values: (y) => run(upTo, y) };
}

/** The unit whose value differs most among the examples. */
function liveliest({ units, values }) {
  const found = examples.map((x) => values(now.layer === 'first' ? x : encode(x)));
  const spread = units.map((_, u) => {
    const mean = found.reduce((sum, value) => sum + value[u], 0) / found.length;
    return found.reduce((sum, value) => sum + (value[u] - mean) ** 2, 0);
  });
  return spread.indexOf(Math.max(...spread));
}

let shown = null;  // the units on the page
const unitBars = [];

function drawUnits() {
  shown = weightsOf(now.layer);
  $('weights-card').hidden = !shown;
  if (!shown) return;
  now.unit ??= liveliest(shown);
  shown.frame = now.frame;
  shown.colours = palette.paper;
  shown.most = shown.units.map((unit) => Math.max(1e-30, unit.reduce((most, w) => Math.max(most, Math.abs(w)), 0)));
  const n = shown.units.length, first = now.layer === 'first';
  shown.columns = Math.min(n, Math.max(4, Math.ceil(Math.sqrt(n * 2.6))));
  if (isImage) {
    const one = diverging(1);
    drawPixels($('units'), shown.units, (w, u) => one(w / shown.most[u]), { columns: shown.columns, gap: 2 });
    $('units').style.width = n < 12 ? `min(${n * 72}px, 100%)` : '100%';
  } else {
    $('unit-buttons').replaceChildren(...shown.units.map((_, u) => {
      const button = element('button', { type: 'button', className: 'thumb text', textContent: u + 1 });
      button.addEventListener('click', () => chooseUnit(u));
      return button;
    }));
  }
  $('weights-caption').textContent = `${n} units ${first ? 'that see x' : 'that draw x̂'}: choose one`;
}

function chooseUnit(u) {
  now.unit = Math.min(Math.max(u, 0), shown.units.length - 1);
  drawUnit();
}

function drawUnit() {
  if (!shown || shown.frame !== now.frame || shown.colours !== palette.paper) drawUnits();
  if (!shown) return;
  const u = now.unit, { units, b, most } = shown, first = now.layer === 'first';
  if (isImage) drawPixels($('unit'), [units[u]], diverging(most[u]));
  else {
    unitBars.forEach((bar, j) => setBar(bar, units[u][j] / most[u]));
    [...$('unit-buttons').children].forEach((button, n) => button.setAttribute('aria-pressed', String(n === u)));
  }
  $('unit-name').textContent = `Unit ${u + 1} of ${units.length}`;
  const value = shown.values(first ? seen() : now.z)[u];
  $('unit-about').textContent = first
    ? `${now.byHand ? 'For x' : 'Now'} its sum is ${short(value)}, with bias ${short(b[u])}. Orange weights raise it, `
      + `blue ones lower it. The largest is ${short(most[u])}.`
    : `Now it is ${short(value)}; times these weights it is added to x̂: orange adds, blue takes away. `
      + `The largest is ${short(most[u])}.`;
}

function setUpWeights() {
  for (const layer of ['first', 'last']) {
    $(layer).addEventListener('click', () => {
      now.layer = layer, now.unit = null;
      for (const other of ['first', 'last']) $(other).setAttribute('aria-pressed', String(other === layer));
      drawUnits();
      drawUnit();
    });
    $(layer).hidden = !weightsOf(layer);
  }
  if (!weightsOf('first')) now.layer = 'last', $('last').setAttribute('aria-pressed', 'true');
  $('units').hidden = $('unit').hidden = !isImage;
  $('unit-buttons').hidden = $('unit-weights').hidden = isImage;
  $('units').addEventListener('click', (event) => {
    const box = $('units').getBoundingClientRect(), lines = Math.ceil(shown.units.length / shown.columns);
    const line = Math.floor(((event.clientY - box.top) / box.height) * lines);
    const u = line * shown.columns + Math.floor(((event.clientX - box.left) / box.width) * shown.columns);
    if (u < shown.units.length) chooseUnit(u);
  });
  arrows($('units'), (right, down) => chooseUnit(now.unit + right + down * shown.columns));
  if (!isImage) {
    model.names.forEach((name) => {
      const bar = element('b');
      const line = element('div', { className: 'deviation' }, bar);
      $('unit-weights').append(element('div', { className: 'weight' }, name, line));
      unitBars.push(bar);
    });
  }
}

// --- the self test, and how fast it is -----------------------------------------------------------------------------

/** The largest difference between the page's numbers and NumPy's, relative to numbers above 1. */
function selfTest() {
  const of = (place, n) => rows(array(place), n);
  const z = of(model.self_test.z, k), x_hat = of(model.self_test.x_hat, d);
  let most = 0;
  const compare = (a, b) => a.forEach((a_j, j) => {
    const difference = Math.abs(a_j - b[j]) / Math.max(1, Math.abs(b[j]));
    most = difference <= most ? most : difference;  // NaN stays
  });
  z.forEach((z_i, i) => {
    compare(encode(examples[i]), z_i);
    compare(decode(z_i), x_hat[i]);
  });
  return most;
}

/** The time of a decode in milliseconds: the shortest of some, since other programs only add to it. */
function decodeTime() {
  const z = encode(examples[0]), times = [];
  while (times.length < 15) {
    const start = performance.now();
    let n = 0, time = 0;
    for (; time < 2; n++, time = performance.now() - start) decode(z);  // longer than a step of the clock
    times.push(time / n);
  }
  return Math.min(...times);
}

function setUpFooter() {
  const most = selfTest(), time = decodeTime(), { rows: n, model: exact, page } = model.errors;
  Object.assign(document.documentElement.dataset, { selfTest: most, decodeMs: time });
  const line = (...parts) => $('footer').append(element('p', {}, ...parts.map((part, i) =>
    (i % 2 ? element('b', { textContent: part }) : part))));
  const more = `${page < exact ? '−' : '+'}${Math.abs((page / (exact || 1) - 1) * 100).toFixed(2)} %`;
  if (model.weights === 'int8') {
    line('Mean squared error of ', String(n), ' rows: ', exact.toPrecision(4), ', with the weights in eight bits ',
      page.toPrecision(4), ', ', more, '.');
  } else line('Mean squared error of ', String(n), ' rows: ', page.toPrecision(4), '.');
  line('This page computes what NumPy computes: the largest difference in a self test is ', most.toExponential(1), '.');
  if (!(most <= 1e-5)) $('footer').lastChild.classList.add('wrong');
  line('A decode takes ', `${time < 0.01 ? 'less than 0.01' : time.toFixed(2)} ms`,
    '. The page is one file, and asks the network for nothing.');
}

// --- the page ------------------------------------------------------------------------------------------------------

function setUpTheme() {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    $('theme').textContent = theme === 'dark' ? 'Light' : 'Dark';
    $('theme').setAttribute('aria-label', `Change to ${theme === 'dark' ? 'light' : 'dark'} colours`);
    readColours();
    thumbs.forEach((draw, button) => (button.isConnected ? draw() : thumbs.delete(button)));
    if (now.z) update();
  };
  set(dark.matches ? 'dark' : 'light');
  dark.addEventListener('change', () => set(dark.matches ? 'dark' : 'light'));
  $('theme').addEventListener('click', () => set(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));
}

function setUp() {
  const widths = (steps) => steps.filter(({ b }) => b).map(({ b }) => b.length);
  const all = [d, ...widths(now.frame.f).slice(0, -1), k, ...widths(now.frame.g)];
  $('title').textContent = document.title = model.title;
  $('subtitle').textContent = `${all.join(' – ')}, made with npae`;
  $('code-caption').textContent = k === 1 ? 'one number' : `${k === 2 ? 'two' : k} numbers`;
  for (const card of document.querySelectorAll('.images')) card.hidden = !isImage;
  for (const card of document.querySelectorAll('.table')) card.hidden = isImage;
  $('main').classList.toggle('tables', !isImage);
  $('main').classList.toggle('noisy', Boolean(model.noise));
  setUpTheme();
  if (isImage) setUpDrawing();
  else setUpFeatures();
  setUpNoise();
  setUpMap();
  setUpExamples();
  setUpFilm();
  setUpWeights();
  setUpSamples();
  setUpFooter();
  showInput(examples[0]);
  new ResizeObserver(() => (drawMap(), drawCode())).observe($('map'));
}

setUp();
