// The pictures that were misread, with what they are: kept in this browser's IndexedDB.

import { zip } from "./zip.js";

/** @returns {Promise<number>} how many pictures there are */
export const count = () => run("readonly", (pictures) => pictures.count());

/** Keep a picture. @param {number} digit that it shows @param {Blob} png */
export async function keep(digit, png) {
  const content = await png.arrayBuffer(); // Safari does not keep blobs
  await run("readwrite", (pictures) => pictures.add({ digit, content }));
}

/** Remove the picture that was kept last. */
export async function takeBack() {
  const keys = await run("readonly", (pictures) => pictures.getAllKeys());
  if (keys.length) await run("readwrite", (pictures) => pictures.delete(keys.at(-1)));
}

/** Remove all pictures. */
export const empty = () => run("readwrite", (pictures) => pictures.clear());

/** @returns {Promise<Blob>} all pictures as a zip of folders 0 to 9, as `mnistnet eval` reads */
export async function download() {
  const pictures = await run("readonly", (store) => store.getAll());
  const files = pictures.map(({ digit, content }, i) => {
    const name = `${digit}/${String(i + 1).padStart(4, "0")}.png`;
    return { name, content: new Uint8Array(content) };
  });
  return zip(files);
}

async function run(mode, action) {
  const opening = indexedDB.open("mnistnet", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("misread", { autoIncrement: true });
  const database = await result(opening);
  try {
    return await result(action(database.transaction("misread", mode).objectStore("misread")));
  } finally {
    database.close();
  }
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
