"use strict";
// The lesson in JavaScript: the noise schedule, the denoiser, the samplers. It follows src/diffusion/schedule.py,
// denoiser.py and samplers/ line by line, in their letters, and tests/test_playground.py compares the images of both.
// An image, or the images of a batch one after the other, is a Float32Array.
//
//     x_t = sqrt(alpha_bar_t) * x_0 + sqrt(1 - alpha_bar_t) * eps

const MAX_SIGMA = 200; // sqrt(1 / SNR) from which on spacings that are even in sigma or log-SNR begin

/** The table alpha_bar[0..T], with alpha_bar[0] = 1 the clean image, and everything that follows from it; t is real. */
class NoiseSchedule {
  constructor(alpha_bar) {
    this.alpha_bar = alpha_bar;
    this.timesteps = alpha_bar.length - 1;
  }

  /** alpha_bar at a real time: between two integers its logarithm is linear. */
  alpha_bar_at(t) {
    const above = Math.ceil(t);
    if (above === t) return this.alpha_bar[t];
    const [log_below, log_above] = [Math.log(this.alpha_bar[above - 1]), Math.log(this.alpha_bar[above])];
    return Math.exp(log_below + (t - above + 1) * (log_above - log_below));
  }

  /** The real time with this alpha_bar, the inverse of `alpha_bar_at`; T for values below the table's last. */
  time_at(alpha_bar) {
    let above = 1;
    while (above < this.timesteps && this.alpha_bar[above] > alpha_bar) above++;
    const [log_below, log_above] = [Math.log(this.alpha_bar[above - 1]), Math.log(this.alpha_bar[above])];
    const share = (Math.log(alpha_bar) - log_below) / (log_above - log_below);
    return above - 1 + Math.min(Math.max(share, 0), 1);
  }

  snr(t) {
    const alpha_bar = this.alpha_bar_at(t);
    return alpha_bar / (1 - alpha_bar);
  }

  /** A time with its alpha_bar and all that a sampler needs to know of the noise level there. */
  level(time) {
    const alpha_bar = this.alpha_bar_at(time);
    const [signal, noise] = [Math.sqrt(alpha_bar), Math.sqrt(1 - alpha_bar)];
    return { time, alpha_bar, signal, noise, half_log_snr: Math.log(signal / noise) };
  }

  /** The pairs (t, s) of neighbouring times. */
  *steps(times) {
    for (let i = 1; i < times.length; i++) yield [this.level(times[i - 1]), this.level(times[i])];
  }

  /** x_t given x_0 and eps. DDPM (Ho et al. 2020), eq. 4. */
  q_sample(x_0, t, eps) {
    const { signal, noise } = this.level(t);
    return sum([signal, x_0], [noise, eps]);
  }
}

/** Spacings of timesteps: num_steps + 1 falling times, the first T and the last 0. */
const SPACINGS = {
  trailing: ({ timesteps }, num_steps) =>
    Array.from({ length: num_steps + 1 }, (_, i) => round_to_even(timesteps - (i * timesteps) / num_steps)),
  log_snr: (schedule, num_steps) => times_of_sigmas(schedule, num_steps, Math.log, Math.exp),
  karras: (schedule, num_steps) =>
    times_of_sigmas(schedule, num_steps, (sigma) => sigma ** (1 / 7), (even) => even ** 7),
};

function times_of_sigmas(schedule, num_steps, scale, unscale) {
  const { timesteps } = schedule;
  const [first, last] = [timesteps, 1].map((t) => scale(Math.min(Math.sqrt(1 / schedule.snr(t)), MAX_SIGMA)));
  const times = [timesteps];
  for (let i = 1; i < num_steps; i++) {
    const sigma = unscale(first + ((last - first) * i) / (num_steps - 1));
    times.push(schedule.time_at(1 / (1 + sigma ** 2)));
  }
  return [...times, 0];
}

/** x_0 from x_t and what the network predicts. */
const TARGETS = {
  eps: (x_t, eps, signal, noise) => sum([1 / signal, x_t], [-noise / signal, eps]),
  x0: (x_t, x_0) => x_0,
  v: (x_t, v, signal, noise) => sum([signal, x_t], [-noise, v]),
  flow: (x_t, u, signal, noise) => sum([1 / (signal + noise), x_t], [-noise / (signal + noise), u]),
};

/** A network with the schedule and the target that give its output a meaning. */
class Denoiser {
  /** `network(x, time, labels)` maps the images x, one per label, to as many predictions; time is in [0, 1000]. */
  constructor(network, schedule, target, null_label) {
    Object.assign(this, { network, schedule, target, null_label });
  }

  predict(x, t, labels) {
    return this.network(x, (1000 / this.schedule.timesteps) * t, labels);
  }

  to_x_0(x_t, t, prediction) {
    const { signal, noise } = this.schedule.level(t);
    return TARGETS[this.target](x_t, prediction, signal, noise);
  }
}

/**
 * Classifier-free guidance, uncond + w * (cond - uncond), where log-SNR is in the interval, and w = 1 elsewhere; w = 0
 * is unconditional. Both labels go through the network in one batch of two (Ho & Salimans 2022, eq. 6).
 */
function guided(denoiser, label, scale, [first, last] = [-Infinity, Infinity]) {
  return async (x_t, t) => {
    const log_snr = Math.log(denoiser.schedule.snr(t));
    const here = first <= log_snr && log_snr <= last ? scale : 1;
    if (here === 0 || here === 1) {
      return denoiser.to_x_0(x_t, t, await denoiser.predict(x_t, t, [here ? label : denoiser.null_label]));
    }
    const both = new Float32Array(2 * x_t.length);
    both.set(x_t);
    both.set(x_t, x_t.length);
    const predictions = await denoiser.predict(both, t, [label, denoiser.null_label]);
    const [cond, uncond] = [predictions.subarray(0, x_t.length), predictions.subarray(x_t.length)];
    return denoiser.to_x_0(x_t, t, sum([here, cond], [1 - here, uncond]));
  };
}

/** The same with x_0 clipped to [-1, 1], the range of pixels. */
function clipped(denoise) {
  return async (x_t, t) => (await denoise(x_t, t)).map((value) => Math.min(Math.max(value, -1), 1));
}

/** DDIM (Song et al. 2021, eq. 12 and 16): eta = 0 is deterministic, eta = 1 draws from DDPM's posterior. */
async function* ddim(denoise, schedule, times, normals, eta = 0) {
  let x_t = normals.next().value;
  for (const [t, s] of schedule.steps(times)) {
    const x_0 = await denoise(x_t, t.time);
    const eps = sum([1 / t.noise, x_t], [-t.signal / t.noise, x_0]);
    const variance = ((eta ** 2 * (1 - s.alpha_bar)) / (1 - t.alpha_bar)) * (1 - t.alpha_bar / s.alpha_bar);
    x_t = sum([s.signal, x_0], [Math.sqrt(1 - s.alpha_bar - variance), eps]);
    if (variance > 0) x_t = sum([1, x_t], [Math.sqrt(variance), normals.next().value]);
    yield { t: s.time, x_t, x_0 };
  }
}

/** DDPM (Ho et al. 2020, algorithm 2): DDIM with eta = 1, over all T steps. */
function ddpm(denoise, schedule, times, normals) {
  return ddim(denoise, schedule, times, normals, 1);
}

/** DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): of second order, by the x_0 of the step before; deterministic. */
async function* dpmpp_2m(denoise, schedule, times, normals) {
  let [x_t, last] = [normals.next().value, null];
  for (const [t, s] of schedule.steps(times)) {
    const x_0 = await denoise(x_t, t.time);
    const h = s.half_log_snr - t.half_log_snr;
    const weight = -s.signal * Math.expm1(-h);
    x_t = sum([s.noise / t.noise, x_t], [weight, x_0]);
    if (last && Number.isFinite(h)) {
      const half = (weight * h) / (2 * last.h);
      x_t = sum([1, x_t], [half, x_0], [-half, last.x_0]);
    }
    last = Number.isFinite(h) ? { x_0, h } : null;
    yield { t: s.time, x_t, x_0 };
  }
}

const SAMPLERS = {
  ddpm: { walk: ddpm, takes_all_steps: true },
  ddim: { walk: ddim, takes_eta: true },
  dpmpp_2m: { walk: dpmpp_2m },
};

/** Endless arrays of standard normal draws, the same for the same seed: first the start noise, then one per step. */
function* normals(seed, size) {
  const uniform = uniforms(seed);
  for (;;) {
    yield Float32Array.from({ length: size }, () => {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform())); // Box and Muller (1958)
      return radius * Math.cos(2 * Math.PI * uniform());
    });
  }
}

/** Numbers in [0, 1), from the bits of a counter (SplitMix32, after Steele et al. 2014). */
function uniforms(seed) {
  let counter = Math.imul(seed, 0x85ebca6b);
  return () => {
    counter = (counter + 0x9e3779b9) | 0;
    let bits = Math.imul(counter ^ (counter >>> 16), 0x21f0aaad);
    bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
    return ((bits ^ (bits >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** The sum of arrays of one length, each with its weight. */
function sum(...terms) {
  return Float32Array.from({ length: terms[0][1].length }, (_, i) =>
    terms.reduce((total, [weight, x]) => total + weight * x[i], 0),
  );
}

/** To the nearest integer, from the middle to the even one, as Python rounds. */
function round_to_even(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}
