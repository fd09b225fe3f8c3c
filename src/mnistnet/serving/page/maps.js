// The network at work: what each layer makes of the image, in small multiples.

import { paint } from "./pictures.js";

/**
 * Draw the maps of all layers, into the elements that are there from the last time.
 *
 * @param {HTMLElement} where
 * @param {{name: string, shape: number[], values: Float32Array}[]} layers
 */
export function showMaps(where, layers) {
  if (where.children.length !== layers.length) {
    where.replaceChildren(...layers.map(makeLayer));
  }
  layers.forEach(({ shape, values }, i) => {
    const low = values.reduce((a, b) => Math.min(a, b));
    const range = values.reduce((a, b) => Math.max(a, b)) - low || 1;
    const levels = Uint8Array.from(values, (value) => (255 * (value - low)) / range);
    const canvases = where.children[i].querySelectorAll("canvas");
    const length = values.length / canvases.length;
    canvases.forEach((canvas, map) => {
      paint(canvas, levels.subarray(map * length, (map + 1) * length));
    });
  });
}

function makeLayer({ name, shape }) {
  const [maps, rows, columns] = shape;
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const size = rows > 1 ? `${maps} maps of ${rows} × ${columns}` : `${maps} values`;
  const title = document.createElement("strong");
  title.textContent = name;
  caption.append(title, ` ${size}`);
  const grid = document.createElement("div");
  grid.className = "multiples";
  for (let map = 0; map < maps; map++) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [columns, rows];
    grid.append(canvas);
  }
  figure.append(caption, grid);
  return figure;
}
