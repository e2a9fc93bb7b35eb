"use strict";
// The network in the browser: ONNX Runtime in WebAssembly, which stands in the page itself, as the weights do.

/** The bytes of a data block of the page: gzip in base64. */
async function unpacked(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = Uint8Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The network for images of a shape (C, H, W), as `Denoiser` takes it; one call at a time (see `in_turn`). */
async function load_network(shape) {
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await unpacked("runtime");
  const session = await ort.InferenceSession.create(await unpacked("weights"), { executionProviders: ["wasm"] });
  return async (x, time, labels) => {
    const batch = labels.length;
    const { prediction } = await session.run({
      x_t: new ort.Tensor("float32", x, [batch, ...shape]),
      time: new ort.Tensor("float32", new Float32Array(batch).fill(time), [batch]),
      label: new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [batch]),
    });
    return prediction.data;
  };
}

/** The same, for callers who wait for each other; `meter` adds up what the calls cost, in seconds and images. */
function in_turn(network) {
  let last = Promise.resolve();
  return (meter) => (x, time, labels) => {
    const call = last.then(async () => {
      const began = performance.now();
      const prediction = await network(x, time, labels);
      meter.seconds += (performance.now() - began) / 1000;
      meter.evaluations += labels.length;
      return prediction;
    });
    last = call.catch(() => null);
    return call;
  };
}
