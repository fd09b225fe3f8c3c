// Pictures: files → bitmaps, ImageData → PNG, base64 → bytes, grey levels → a canvas.

const MAX_SIDE = 1200; // pixels of a picture that is read

/**
 * Decode a picture file: upright, as its EXIF orientation says, and at most MAX_SIDE pixels wide.
 *
 * @param {Blob} file
 * @returns {Promise<ImageBitmap>}
 */
export async function decode(file) {
  const picture = new Image();
  picture.src = URL.createObjectURL(file);
  try {
    await picture.decode();
    const { naturalWidth: width, naturalHeight: height } = picture;
    const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
    const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    const canvas = new OffscreenCanvas(w, h);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, w, h);
    return canvas.transferToImageBitmap();
  } catch {
    throw new Error("This browser cannot read that file. Save it as PNG or JPEG.");
  } finally {
    URL.revokeObjectURL(picture.src);
  }
}

/** Encode a picture. @param {ImageData} image @returns {Promise<Blob>} */
export function toPng(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob();
}

/** Decode base64. @param {string} text @returns {Uint8Array} */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/**
 * Paint grey levels, 0–255, on a canvas of as many pixels; what is bright takes the ink's colour.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} levels rows one after the other
 */
export function paint(canvas, levels) {
  const image = new ImageData(canvas.width, canvas.height);
  const [red, green, blue] = getComputedStyle(canvas).color.match(/[\d.]+/g);
  for (let i = 0; i < levels.length; i++) image.data.set([red, green, blue, levels[i]], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Make grey levels, bright ink, a bitmap. @param {ArrayLike<number>} levels 28 rows of 28 */
export function toBitmap(levels) {
  const image = new ImageData(28, 28);
  for (let i = 0; i < 784; i++) image.data.set([levels[i], levels[i], levels[i], 255], 4 * i);
  return createImageBitmap(image);
}
