"use strict";
// What can be seen and touched: two settings side by side, and the forward process. The mathematics is in diffusion.js.

const lesson = JSON.parse(document.getElementById("lesson").textContent);
const [CHANNELS, HEIGHT, WIDTH] = lesson.shape;
const SIZE = CHANNELS * HEIGHT * WIDTH;
const SCHEDULES = Object.fromEntries(
  Object.entries(lesson.schedules).map(([name, { alpha_bar }]) => [name, new NoiseSchedule(alpha_bar)]),
);
const schedule = SCHEDULES[lesson.schedule];
const T = schedule.timesteps;

const FILM_COLUMNS = 10;
const PLAYING_TIME = 4000; // milliseconds from noise to image
const BREATH = 30; // milliseconds of work after which the page may draw
const MAX_DOTS = 100; // of a curve
const FIRST_SHOWN = Math.min(3, lesson.images.length - 1); // the class
const CHART = { width: 320, height: 72 }; // as in the viewBox of playground.html.j2, and below
const WIDE_CHART = { width: 640, height: 160 };

// A slider stands on an index into the values that it can take.
const LOG_SNRS = evenly(
  Math.ceil(Math.max(Math.log(schedule.snr(T)), -12)),
  Math.floor(Math.min(Math.log(schedule.snr(1)), 12)),
  0.5,
);
const COUNTS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750];
const VALUES = {
  steps: [...COUNTS.filter((count) => count < T), T],
  scale: evenly(0, 10, 0.25),
  first: [-Infinity, ...LOG_SNRS],
  last: [...LOG_SNRS, Infinity],
  eta: evenly(0, 1, 0.05),
};
const DEFAULTS = { steps: Math.min(10, T), scale: 1, first: -Infinity, last: Infinity, eta: 0 };
const DIFFERENT = { A: {}, B: { scale: 4 } };

function evenly(first, last, step) {
  return Array.from({ length: Math.round((last - first) / step) + 1 }, (_, i) => Number((first + i * step).toFixed(6)));
}

/** A number in about three figures; infinities as such, as are the ends of an interval. */
function figures(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const small = value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e4);
  return (small ? value.toExponential(1) : String(Number(value.toPrecision(3)))).replaceAll("-", "−");
}

function log_snr_at(t) {
  return Math.log(schedule.snr(t));
}

/** An image in [-1, 1], channel by channel, as RGBA. */
function pixels(x) {
  const [area, rgba] = [HEIGHT * WIDTH, new Uint8ClampedArray(4 * HEIGHT * WIDTH).fill(255)];
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = 127.5 * (x[(c % CHANNELS) * area + i] + 1);
  }
  return new ImageData(rgba, WIDTH, HEIGHT);
}

function draw(canvas, image, alternative) {
  if (canvas.width !== WIDTH || canvas.height !== HEIGHT) Object.assign(canvas, { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  if (image) context.putImageData(image, 0, 0);
  else context.clearRect(0, 0, WIDTH, HEIGHT);
  canvas.setAttribute("aria-label", alternative);
}

function svg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** The points of alpha_bar over t in a chart of this size, by `place`, which gives the share of the width. */
function curve({ alpha_bar, timesteps }, { width, height }, place) {
  const every = Math.max(1, Math.floor(timesteps / 200));
  const points = [];
  for (let t = 0; t <= timesteps; t += every) {
    points.push(`${(place(t / timesteps) * width).toFixed(1)},${((1 - alpha_bar[t]) * height).toFixed(1)}`);
  }
  return points.join(" ");
}

/** One of the two settings, with its controls, its images, and all steps of its last run. */
class Side {
  constructor(name) {
    this.root = document.getElementById(`side-${name}`);
    this.form = this.find(".settings");
    this.turn = 0;
    this.steps = [];
    this.shown = 0;
    for (const [key, values] of Object.entries(VALUES)) {
      const slider = this.form.elements[key];
      Object.assign(slider, { min: 0, max: values.length - 1, step: 1 });
      slider.value = values.indexOf({ ...DEFAULTS, ...DIFFERENT[name] }[key]);
    }
    this.form.elements.sampler.value = "ddim";
    this.form.elements.label.value = FIRST_SHOWN;
    this.form.addEventListener("input", () => this.run());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.find(".step").addEventListener("input", (event) => {
      pause();
      this.show(Number(event.target.value));
    });
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  get settings() {
    const { elements } = this.form;
    const chosen = Object.fromEntries(Object.keys(VALUES).map((key) => [key, VALUES[key][elements[key].value]]));
    const [label, sampler] = [Number(elements.label.value), elements.sampler.value];
    const [all, none] = [SAMPLERS[sampler].takes_all_steps, label === lesson.null_label];
    return {
      ...chosen,
      label,
      sampler,
      steps: all ? T : chosen.steps,
      scale: none ? 0 : chosen.scale,
      eta: SAMPLERS[sampler].takes_eta ? chosen.eta : 0,
      spacing: all ? "trailing" : elements.spacing.value,
    };
  }

  /** Sample anew with the settings as they are; a run that is still under way ends. */
  async run() {
    const [turn, settings, seed] = [++this.turn, this.settings, current_seed()];
    const meter = { seconds: 0, evaluations: 0 };
    const denoiser = new Denoiser(network_for(meter), schedule, lesson.target, lesson.null_label);
    const denoise = clipped(guided(denoiser, settings.label, settings.scale, [settings.first, settings.last]));
    const { walk } = SAMPLERS[settings.sampler];
    this.times = SPACINGS[settings.spacing](schedule, settings.steps);
    this.steps = [{ t: T, x_t: pixels(normals(seed, SIZE).next().value), x_0: null }];
    this.describe(settings);
    this.root.setAttribute("aria-busy", "true");
    let drawn = performance.now();
    for await (const { t, x_t, x_0 } of walk(denoise, schedule, this.times, normals(seed, SIZE), settings.eta)) {
      if (turn !== this.turn) return;
      this.steps.push({ t, x_t: pixels(x_t), x_0: pixels(x_0) });
      if (performance.now() - drawn < BREATH) continue;
      if (!playing) this.show(this.steps.length - 1);
      this.film();
      await new Promise((resolve) => setTimeout(resolve));
      drawn = performance.now();
    }
    if (turn !== this.turn) return;
    if (!playing) this.show(settings.steps);
    this.film();
    const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
    const [steps, evaluations] = [count(settings.steps, "step"), count(meter.evaluations, "network evaluation")];
    this.find(".cost").textContent = `${steps}, ${evaluations}, ${meter.seconds.toFixed(2)} s`;
    this.root.setAttribute("aria-busy", "false");
  }

  /** Let the controls say what is set, and which of them have no effect. */
  describe(settings) {
    const { elements } = this.form;
    const none = settings.label === lesson.null_label;
    const { takes_eta, takes_all_steps } = SAMPLERS[settings.sampler];
    for (const key of ["scale", "first", "last"]) elements[key].disabled = none;
    for (const key of ["steps", "spacing"]) elements[key].disabled = Boolean(takes_all_steps);
    elements.eta.disabled = !takes_eta;
    for (const key of Object.keys(VALUES)) {
      const text = figures(key === "steps" ? settings.steps : VALUES[key][elements[key].value]);
      elements[key].setAttribute("aria-valuetext", text);
      this.form.querySelector(`.${key} output`).textContent = text;
    }
    const sampler = elements.sampler.selectedOptions[0].textContent;
    const name = none ? "no class" : lesson.class_names[settings.label];
    this.find(".summary").textContent = `${name} · ${sampler} · w = ${figures(settings.scale)}`;
    this.find(".step").max = settings.steps;
    this.chart(settings);
  }

  show(index) {
    this.shown = Math.min(index, this.steps.length - 1);
    const { t, x_t, x_0 } = this.steps[this.shown];
    const where = `step ${this.shown} of ${this.times.length - 1}`;
    const about = `${this.find(".summary").textContent}, ${where}, t = ${figures(t)}`;
    draw(this.find(".pictures .x_t"), x_t, `x_t: ${about}`);
    draw(this.find(".pictures .x_0"), x_0, x_0 ? `Predicted x_0: ${about}` : "No x_0 before the first step");
    const slider = this.find(".step");
    slider.value = this.shown;
    slider.setAttribute("aria-valuetext", `${where}, t = ${figures(t)}`);
    this.find(".scrub output").textContent = `${this.shown} of ${this.times.length - 1}`;
    this.find(".t").textContent = figures(t);
    this.find(".alpha_bar").textContent = figures(schedule.alpha_bar_at(t));
    this.find(".snr").textContent = figures(schedule.snr(t));
    this.find(".log_snr").textContent = figures(log_snr_at(t));
    this.mark.setAttribute("cx", CHART.width * (1 - t / T));
    this.mark.setAttribute("cy", CHART.height * (1 - schedule.alpha_bar_at(t)));
  }

  /** alpha_bar on the way from T to 0, with the steps, the guided part and a mark at the step that is shown. */
  chart({ scale, first, last }) {
    const chart = this.find(".chart");
    const x = (t) => CHART.width * (1 - t / T);
    const y = (t) => CHART.height * (1 - schedule.alpha_bar_at(t));
    const parts = [];
    const is_guided = (_, t) => first <= log_snr_at(t) && log_snr_at(t) <= last;
    const [earliest, latest] = [schedule.alpha_bar.findLastIndex(is_guided), schedule.alpha_bar.findIndex(is_guided)];
    if (scale !== 0 && scale !== 1 && latest >= 0) {
      const [start, end] = [x(earliest), x(latest)];
      parts.push(svg("rect", { class: "guided", x: start, width: end - start, y: 0, height: CHART.height }));
    }
    parts.push(svg("polyline", { class: "line", points: curve(schedule, CHART, (share) => 1 - share) }));
    if (this.times.length <= MAX_DOTS) {
      for (const t of this.times) {
        parts.push(svg("circle", { class: "dot", cx: x(t), cy: y(t), r: 2.5 }));
      }
    }
    this.mark = svg("circle", { class: "mark", r: 5 });
    chart.replaceChildren(...parts, this.mark);
    chart.setAttribute("aria-label", `alpha-bar over t, from T to 0, with ${this.times.length - 1} steps`);
  }

  /** Steps evenly taken from all of them, as far as they are made; the last is the image. */
  film() {
    const [canvas, count] = [this.find(".film"), this.times.length - 1];
    const columns = Math.min(FILM_COLUMNS, count);
    Object.assign(canvas, { width: columns * (WIDTH + 1) - 1, height: 2 * HEIGHT + 1 });
    const context = canvas.getContext("2d");
    for (let column = 0; column < columns; column++) {
      const step = this.steps[Math.round(((column + 1) * count) / columns)];
      if (!step) break;
      const { x_t, x_0 } = step;
      context.putImageData(x_t, column * (WIDTH + 1), 0);
      context.putImageData(x_0, column * (WIDTH + 1), HEIGHT + 1);
    }
    canvas.setAttribute("aria-label", `x_t and the predicted x_0 at ${columns} of ${count} steps, from noise to image`);
  }
}

let network_for = null;
let sides = [];
let playing = 0; // which showing is under way, 0 if none is
const play_button = document.getElementById("play");
const seed_input = document.getElementById("seed");

function current_seed() {
  return seed_input.valueAsNumber >>> 0;
}

function pause() {
  playing = 0;
  play_button.textContent = "Play";
}

/** Show both runs from the start noise to the image, side by side. */
function play() {
  const [began, showing] = [performance.now(), performance.now()];
  playing = showing;
  play_button.textContent = "Pause";
  const frame = (now) => {
    if (playing !== showing) return;
    const share = Math.min(Math.max((now - began) / PLAYING_TIME, 0), 1);
    for (const side of sides) side.show(Math.round(share * (side.times.length - 1)));
    if (share < 1) requestAnimationFrame(frame);
    else pause();
  };
  requestAnimationFrame(frame);
}

function run_all() {
  return Promise.all(sides.map((side) => side.run()));
}

/** The forward process of a test image under every schedule, with the same eps. */
function forward() {
  const eps = normals(0, SIZE).next().value;
  const time = document.getElementById("time");
  const chart = document.getElementById("schedule-chart");
  const tiles = Object.entries(lesson.schedules).map(([name, { label, colour }]) => {
    const [tile, canvas] = [document.createElement("figure"), document.createElement("canvas")];
    const [caption, title, reading] = ["figcaption", "strong", "span"].map((tag) => document.createElement(tag));
    canvas.setAttribute("role", "img");
    title.textContent = label;
    const key = svg("svg", { class: "key", viewBox: "0 0 12 12", "aria-hidden": "true" });
    key.append(svg("circle", { cx: 6, cy: 6, r: 5, fill: colour }));
    caption.append(key, title, reading);
    tile.append(canvas, caption);
    const points = curve(SCHEDULES[name], WIDE_CHART, (share) => share);
    chart.append(svg("polyline", { class: "line", stroke: colour, points }));
    return { name, label, canvas, reading, tile };
  });
  document.getElementById("schedules").append(...tiles.map(({ tile }) => tile));
  const now = svg("line", { class: "now", y1: 0, y2: WIDE_CHART.height });
  chart.append(now);

  const images = lesson.images.map(({ name, pixels: text }, index) => {
    const bytes = Array.from(atob(text), (character) => character.charCodeAt(0));
    const x_0 = Float32Array.from(bytes, (byte) => byte / 127.5 - 1);
    const [label, radio, canvas] = ["label", "input", "canvas"].map((tag) => document.createElement(tag));
    Object.assign(radio, { type: "radio", name: "image", value: index, checked: index === FIRST_SHOWN });
    radio.setAttribute("aria-label", name);
    canvas.setAttribute("role", "img");
    draw(canvas, pixels(x_0), `A test image of ${name}`);
    label.title = name;
    label.append(radio, canvas);
    document.getElementById("images").append(label);
    return { name, x_0, radio };
  });

  const update = () => {
    const t = Number(time.value);
    const { name: subject, x_0 } = images.find(({ radio }) => radio.checked);
    document.querySelector(".time output").textContent = `${t} of ${T}`;
    for (const { name, label, canvas, reading } of tiles) {
      const { alpha_bar } = SCHEDULES[name].level(t);
      draw(canvas, pixels(SCHEDULES[name].q_sample(x_0, t, eps)), `${subject} at t = ${t} under the schedule ${label}`);
      reading.textContent = `ᾱ = ${figures(alpha_bar)}, SNR = ${figures(SCHEDULES[name].snr(t))}`;
    }
    for (const end of ["x1", "x2"]) now.setAttribute(end, (WIDE_CHART.width * t) / T);
  };
  time.value = Math.round(T / 3);
  document.getElementById("forward-form").addEventListener("input", update);
  update();
}

/** Unpack the network, show the first two images, and answer whatever is touched. */
async function start() {
  forward();
  const status = document.getElementById("status");
  try {
    network_for = in_turn(await load_network(lesson.shape));
    sides = ["A", "B"].map((name) => new Side(name));
    await run_all();
  } catch (error) {
    status.textContent = `The network does not run in this browser: ${error.message}`;
    throw error;
  }
  status.textContent = "Ready. All of it runs in this page.";
  document.getElementById("shared").addEventListener("submit", (event) => event.preventDefault());
  seed_input.addEventListener("input", run_all);
  document.getElementById("another").addEventListener("click", () => {
    seed_input.value = Math.floor(Math.random() * 10000);
    run_all();
  });
  play_button.addEventListener("click", () => (playing ? pause() : play()));
}

document.addEventListener("DOMContentLoaded", start);
