// How to ask for a prediction on the static site: this browser computes it, in a worker, so that
// drawing never waits. The service's module of this name says what the functions take and return.

export const privacy = "What you draw is read in this browser, and never sent.";

const calls = []; // that wait for their answers, by number
let worker = null;

export const load = (onProgress) => {
  keepOffline();
  return call("load", [], onProgress);
};
export const predict = ({ data, width, height }) => call("predict", [data, height, width]);
export const maps = (seen) => call("maps", [seen]);

function call(name, values, onProgress) {
  worker ??= start();
  return new Promise((resolve, reject) => {
    const number = calls.push({ resolve, reject, onProgress }) - 1;
    worker.postMessage({ number, name, values });
  });
}

function start() {
  const started = new Worker(new URL("reader.js", import.meta.url), { type: "module" });
  started.addEventListener("message", ({ data: { number, progress, problem, answer } }) => {
    const { resolve, reject, onProgress } = calls[number] ?? {}; // none, if it has failed
    if (progress) return onProgress?.(...progress);
    delete calls[number];
    if (problem) reject(Object.assign(new Error(problem.message), problem));
    else resolve(answer);
  });
  started.addEventListener("error", () => {
    worker = null;
    const error = new Error("The network cannot be loaded here. Reload the page, while online.");
    for (const number of Object.keys(calls)) {
      calls[number].reject(error);
      delete calls[number];
    }
  });
  return started;
}

/** Have the browser keep this version of the site, so that it works offline from now on. */
function keepOffline() {
  const script = new URL("../offline.js", import.meta.url);
  navigator.serviceWorker?.register(script, { updateViaCache: "none" }).catch(() => {});
}

// Whoever saves data loads the megabytes only with the first drawing.
if (!navigator.connection?.saveData) addEventListener("load", keepOffline);
