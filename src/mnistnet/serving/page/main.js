// The page: what is drawn is read while it is drawn, and the answer is shown.

import * as ask from "./ask.js";
import { Drawing } from "./drawing.js";
import * as folder from "./folder.js";
import { showMaps } from "./maps.js";
import { decode, fromBase64, paint, toBitmap, toPng } from "./pictures.js";

const $ = (id) => document.getElementById(id);
const percent = (share) => (share > 0.999 ? "over 99.9 %" : `${(100 * share).toFixed(1)} %`);
const DIGITS = [...Array(10).keys()];
const TRIES = 5; // of asking again by itself, while the service is busy or away

const about = { threshold: 0, collects: false, hardest: [] };
const drawing = new Drawing($("paper"), changed);
let answer = null; // the latest
let loading = null; // the model: once, whatever is asked
let isAsking = false; // one request at a time;
let isStale = false; // the latest drawing is asked for when it is answered
let failures = 0;

// ---- asking

function changed() {
  $("hint").hidden = !drawing.isEmpty;
  $("undo").disabled = !drawing.canUndo;
  $("clear").disabled = $("labels").disabled = drawing.isEmpty;
  follow();
}

async function follow() {
  isStale = true;
  $("says").ariaBusy = "true"; // not read aloud until the stroke has ended, and is answered
  if (isAsking) return;
  isAsking = true;
  while (isStale) {
    isStale = false;
    try {
      await read();
      failures = 0;
    } catch (error) {
      answer = null; // that of another drawing would mislead
      showAnswer();
      say(error.message, "problem");
      if (error.retryAfter && failures++ < TRIES) setTimeout(follow, 1000 * error.retryAfter);
    }
    await new Promise(requestAnimationFrame);
  }
  isAsking = false;
  $("says").ariaBusy = String(drawing.isDrawing);
}

async function read() {
  const picture = drawing.picture();
  if (picture) {
    loading ??= ask.load(showProgress);
    await loading.catch((error) => {
      loading = null;
      throw error;
    });
  }
  answer = picture && (await ask.predict(picture));
  showAnswer();
  if (!$("maps").hidden && !drawing.isDrawing) await showWork();
}

function showProgress(loaded, total) {
  say(`Loading the network: ${(loaded / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`);
}

// ---- the answer

function say(text, kind = "") {
  if ($("says").textContent !== text) $("says").textContent = text;
  $("says").className = kind;
}

function showAnswer() {
  const shares = answer?.probabilities ?? DIGITS.map(() => 0);
  const isRead = answer !== null && answer.reason === null;
  $("digit").textContent = isRead ? answer.digit : "–";
  $("digit").className = isRead ? (answer.sure ? "sure" : "unsure") : "none";
  DIGITS.forEach((digit) => {
    const bar = $("bars").children[digit];
    bar.firstChild.style.height = `${100 * shares[digit]}%`;
    const isBest = isRead && digit === answer.digit;
    for (const part of [bar, $("labels").children[digit]]) part.classList.toggle("best", isBest);
  });
  $("bars").ariaLabel = answer
    ? `Probabilities: ${DIGITS.map((digit) => `${digit}, ${percent(shares[digit])}`).join("; ")}`
    : "No probabilities yet";
  paint($("seen"), answer?.seen ?? new Uint8Array(784));
  $("seen").ariaLabel = answer ? `28 by 28 pixels, ${answer.hypothesis ?? ""}` : "Nothing yet";
  say(...describe());
}

function describe() {
  if (!answer) return ["Nothing drawn yet."];
  const { digit, confidence, sure, reason, probabilities } = answer;
  if (digit === null) return ["No digit here: there is no ink in the picture.", "unsure"];
  if (reason) return [`No answer: ${reason}. Draw one at a time.`, "unsure"];
  if (sure) return [`It’s a ${digit}, confidence ${percent(confidence)}.`];
  const [, second] = [...DIGITS].sort((a, b) => probabilities[b] - probabilities[a]);
  return [
    `Not sure: ${digit} with ${percent(confidence)}, under the ${percent(about.threshold)} that` +
      ` count as sure. Perhaps a ${second} (${percent(probabilities[second])}).`,
    "unsure",
  ];
}

async function showWork() {
  if (answer?.digit == null) {
    $("maps").replaceChildren("Draw a digit first.");
  } else {
    showMaps($("maps"), await ask.maps(answer.seen));
  }
}

// ---- pictures, and what is kept of them

async function open(file) {
  if (!file) return;
  try {
    drawing.show(await decode(file));
  } catch (error) {
    say(error.message, "problem");
  }
}

async function keep(digit) {
  const png = await toPng(drawing.picture());
  if (about.collects) {
    const headers = { "Content-Type": "image/png" };
    const response = await fetch(`collect/${digit}`, { method: "POST", body: png, headers });
    const done = await response.json().catch(() => ({}));
    $("where").textContent = response.ok
      ? `Thank you: the service keeps it as a ${digit}.`
      : (done.error ?? `The service answered with ${response.status}.`);
  } else {
    await folder.keep(digit, png);
    await showFolder(`Kept as a ${digit}. `);
  }
}

function attempt(action) {
  return action.catch(() => {
    $("where").textContent = "This did not work: the service is away, or this browser keeps nothing.";
  });
}

async function showFolder(before = "") {
  const n = about.collects ? 0 : await folder.count();
  for (const id of ["unkeep", "download", "forget"]) $(id).hidden = !n;
  const pictures = n === 1 ? "1 picture" : `${n} pictures`;
  $("where").textContent = about.collects
    ? "Misread? Choose what it is: the picture is sent to this service, which keeps it."
    : n
      ? `${before}${pictures} in a folder in this browser. Downloaded and unpacked, mnistnet eval` +
        " --data measures on them."
      : "Misread? Choose what it is: the picture joins a folder in this browser.";
}

async function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await folder.download());
  link.download = "digits.zip";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// ---- what is known of the model

async function showAbout() {
  Object.assign(about, await (await fetch("about.json")).json());
  const { version, parameters, metrics, report, hardest } = about;
  $("about").textContent = `A network of ${parameters.toLocaleString("en")} parameters reads it while you draw.`;
  const link = Object.assign(document.createElement("a"), { href: report, textContent: "The report" });
  const share = (value) => (100 * value).toFixed(2);
  const measured = metrics
    ? `reads ${share(metrics.accuracy)} % of ${metrics.n.toLocaleString("en")} ${metrics.judged_on}` +
      ` images (95 % interval ${share(metrics.accuracy_low)}–${share(metrics.accuracy_high)}).`
    : "was not measured.";
  $("version").replaceChildren(`mnistnet ${version} ${measured} `, link);
  $("privacy").textContent = ask.privacy;
  $("hardest").hidden = !hardest.length;
  showGallery();
}

function showGallery() {
  $("gallery").replaceChildren(...about.hardest.map(makeSample));
  for (const [i, canvas] of $("gallery").querySelectorAll("canvas").entries()) {
    paint(canvas, fromBase64(about.hardest[i].pixels));
  }
}

function makeSample({ label, is_label_error: isDisputed, pixels }) {
  const button = document.createElement("button");
  const canvas = Object.assign(document.createElement("canvas"), { width: 28, height: 28 });
  button.type = "button";
  button.ariaLabel = `Read a ${label}${isDisputed ? ", a disputed label" : ""}`;
  button.append(canvas, `${label}${isDisputed ? "*" : ""}`);
  button.addEventListener("click", async () => {
    drawing.show(await toBitmap(fromBase64(pixels)));
    $("paper").parentElement.scrollIntoView({ block: "nearest" });
  });
  return button;
}

// ---- wiring

for (const digit of DIGITS) {
  const bar = document.createElement("div");
  bar.append(document.createElement("i"));
  $("bars").append(bar);
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.textContent = digit;
  button.ariaLabel = `It’s a ${digit}`;
  button.addEventListener("click", () => attempt(keep(digit)));
  $("labels").append(button);
}
$("undo").addEventListener("click", () => drawing.undo());
$("clear").addEventListener("click", () => drawing.clear());
$("pen").addEventListener("input", () => (drawing.width = $("pen").value / 100));
$("file").addEventListener("change", () => {
  open($("file").files[0]);
  $("file").value = ""; // so that the same file may be chosen again
});
$("work").addEventListener("click", () => {
  const isShown = $("maps").toggleAttribute("hidden") === false;
  $("work").ariaExpanded = String(isShown);
  $("work").textContent = isShown ? "Hide the maps" : "Show the maps";
  if (isShown) follow();
});
$("download").addEventListener("click", () => attempt(download()));
$("unkeep").addEventListener("click", () => attempt(folder.takeBack().then(() => showFolder())));
$("forget").addEventListener("click", () => attempt(folder.empty().then(() => showFolder())));
addEventListener("keydown", (event) => {
  const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
  if (!isUndo || event.shiftKey) return;
  event.preventDefault();
  drawing.undo();
});
addEventListener("paste", (event) => open(event.clipboardData.files[0]));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault(); // of opening the file instead of this page
  open(event.dataTransfer.files[0]);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  showGallery(); // in the other theme's colours
  follow();
});
showAnswer();
showAbout()
  .catch(() => {}) // one can draw all the same
  .then(() => attempt(showFolder()));
