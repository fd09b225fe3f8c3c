// How to ask for a prediction: here, the service. On the static site another module of this name
// has the same functions, and computes in the browser.

import { fromBase64, toPng } from "./pictures.js";

export const privacy = "What you draw is sent to this service to be read, and not kept.";

/**
 * Get ready to predict; called once, before the first prediction.
 *
 * @param {(loaded: number, total: number) => void} _onProgress called with bytes, if any are loaded
 * @returns {Promise<void>}
 */
export async function load(_onProgress) {} // the service has its model loaded

/**
 * Predict the digit in a picture.
 *
 * @param {ImageData} image any size; ink may be dark or bright
 * @returns {Promise<{digit: number|null, confidence: number, sure: boolean, reason: string|null,
 *   probabilities: number[], seen: Uint8Array, hypothesis: string|null}>} `digit` is null where
 *   there is no ink; `reason` says why there is no digit, or none to be sure of; `seen` is 28 rows
 *   of 28 grey levels, ink bright
 * @throws {Error} with one line to show; `retryAfter` is in seconds, if trying again may help
 */
export async function predict(image) {
  const answer = await post("predict?seen=true", await toPng(image), "image/png");
  return { ...answer, seen: await greyLevels(answer.seen) };
}

/**
 * Compute what each layer makes of an image.
 *
 * @param {Uint8Array} seen 28 rows of 28 grey levels, as `predict` returns them
 * @returns {Promise<{name: string, shape: number[], values: Float32Array}[]>} a layer each; its
 *   shape is [maps, rows, columns]
 */
export async function maps(seen) {
  const layers = await post("maps", seen, "application/octet-stream");
  return layers.map(({ values, ...layer }) => {
    return { ...layer, values: new Float32Array(fromBase64(values).buffer) };
  });
}

async function post(address, body, type) {
  let response;
  try {
    response = await fetch(address, { method: "POST", body, headers: { "Content-Type": type } });
  } catch {
    throw Object.assign(new Error("The service does not answer."), { retryAfter: 2 });
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const error = new Error(answer.error ?? `The service answered with ${response.status}.`);
  if (response.status === 503) error.retryAfter = Number(response.headers.get("Retry-After")) || 1;
  throw error;
}

async function greyLevels(png) {
  const bitmap = await createImageBitmap(new Blob([fromBase64(png)], { type: "image/png" }));
  const context = new OffscreenCanvas(28, 28).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, 28, 28).data.filter((_, i) => i % 4 === 0);
}
