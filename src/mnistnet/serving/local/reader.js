// The network in this browser: ONNX Runtime, compiled to WebAssembly, in a worker of its own.
// Everything is loaded once, when it is first needed.

import * as ort from "./onnxruntime.js";

const kept = {}; // what is loaded, or being loaded, by name
ort.env.wasm.numThreads = 1; // more would need headers that hosts of static sites do not send

const actions = {
  /** Load the runtime and the graph that reads pictures. */
  async load(onProgress) {
    const { load_bytes: total } = await facts();
    let loaded = 0;
    await session("picture.onnx", (bytes) => onProgress((loaded += bytes), total));
  },

  /** Predict the digit in a picture: `data` is red, green, blue and opacity of each pixel. */
  async predict(_, data, height, width) {
    const { threshold, hypotheses, no_ink: noInk, several: severalDigits } = await facts();
    const reader = await session("picture.onnx");
    const picture = new ort.Tensor("uint8", new Uint8Array(data.buffer), [height, width, 4]);
    const { probabilities, seen, ink, several, hypothesis } = await reader.run({ picture });
    const confidence = ink.data[0] ? Math.max(...probabilities.data) : 0;
    const reason = ink.data[0] ? (several.data[0] ? severalDigits : null) : noInk;
    return {
      digit: ink.data[0] ? probabilities.data.indexOf(confidence) : null,
      confidence,
      sure: reason === null && confidence >= threshold,
      reason,
      probabilities: [...probabilities.data],
      seen: seen.data,
      hypothesis: hypotheses[Number(hypothesis.data[0])] ?? null,
    };
  },

  /** Compute what each layer makes of an image. */
  async maps(_, seen) {
    const layers = await session("feature_maps.onnx");
    const images = new ort.Tensor("uint8", Uint8Array.from(seen), [1, 28, 28]);
    const outputs = await layers.run({ images });
    return layers.outputNames.map((name) => {
      return { name, shape: outputs[name].dims.slice(1), values: outputs[name].data };
    });
  },
};

function session(graph, onBytes) {
  return keep(graph, async () => {
    const [content] = await Promise.all([download(graph, onBytes), runtime(onBytes)]);
    // Optimising a thousand small nodes takes longer than twenty runs.
    const options = { graphOptimizationLevel: "disabled" };
    return ort.InferenceSession.create(new Uint8Array(content), options);
  });
}

function runtime(onBytes) {
  return keep("runtime", async () => {
    const packed = new Blob([await download("onnxruntime.bin", onBytes)]).stream();
    const unpacked = packed.pipeThrough(new DecompressionStream("gzip"));
    ort.env.wasm.wasmBinary = await new Response(unpacked).arrayBuffer();
  });
}

function facts() {
  return keep("facts", async () => JSON.parse(new TextDecoder().decode(await download("site.json"))));
}

/** Return what is made; a second call gets the same, unless making it failed. */
function keep(name, make) {
  return (kept[name] ??= make().catch((error) => {
    delete kept[name];
    throw error;
  }));
}

async function download(name, onBytes = () => {}) {
  const response = await fetch(name).catch(() => ({ ok: false }));
  // Each version of the site is a folder of its own, which the next one replaces.
  if (response.status === 404) throw new Error("There is a new version of this page: reload it.");
  const count = (chunk, counted) => {
    onBytes(chunk.length);
    counted.enqueue(chunk);
  };
  try {
    const counted = response.body.pipeThrough(new TransformStream({ transform: count }));
    if (response.ok) return await new Response(counted).arrayBuffer();
  } catch {} // cut off on the way
  throw Object.assign(new Error("The site does not answer: the network cannot be loaded."), {
    retryAfter: 2,
  });
}

addEventListener("message", async ({ data: { number, name, values } }) => {
  const onProgress = (...progress) => postMessage({ number, progress });
  try {
    postMessage({ number, answer: await actions[name](onProgress, ...values) });
  } catch ({ message, retryAfter }) {
    postMessage({ number, problem: { message, retryAfter } });
  }
});
