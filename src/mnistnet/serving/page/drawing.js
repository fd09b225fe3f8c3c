// The sheet to draw on: strokes by pointer and keyboard, undo, and the picture that is read.

const SIDE = 280; // pixels of the picture that is read, whatever the screen's density and zoom
const STEP = 0.025; // of the sheet's side that an arrow key moves the pen
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const EMPTY = { image: null, strokes: [] };

/**
 * What is on a sheet, and was before.
 *
 * A stroke is {width, points}, in shares of the sheet's side, so that it is the same on each
 * screen. A state is {image, strokes} and is never changed, but for the stroke in progress.
 */
export class Drawing {
  #canvas;
  #context;
  #onChange;
  #states = [EMPTY];
  #stroke = null; // in progress
  #pointer = null; // the id of what draws it
  #cursor = null; // where the keyboard's pen is
  #arrows = new Set(); // held down
  #frame = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onChange called whenever there is something else on the sheet
   */
  constructor(canvas, onChange) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#onChange = onChange;
    this.width = 0.07;
    const on = (type, action) => canvas.addEventListener(type, action.bind(this));
    on("pointerdown", this.#press);
    on("pointermove", this.#move);
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) on(type, this.#lift);
    on("keydown", this.#key);
    on("keyup", (event) => this.#arrows.delete(event.key));
    on("blur", this.#leave);
    // Safari would magnify, select or scroll all the same.
    const refuse = (event) => event.cancelable && event.preventDefault();
    canvas.addEventListener("touchstart", refuse, { passive: false });
    addEventListener("resize", () => this.#repaint()); // zooming is one, too
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#repaint());
    this.#repaint();
  }

  get isDrawing() {
    return this.#stroke !== null;
  }

  get isEmpty() {
    return !this.#state.image && !this.#state.strokes.length;
  }

  get canUndo() {
    return this.#states.length > 1;
  }

  undo() {
    this.#end();
    if (this.canUndo) this.#states.pop();
    this.#changed();
  }

  clear() {
    this.#end();
    if (!this.isEmpty) this.#states.push(EMPTY);
    this.#changed();
  }

  /** Show a picture instead of the drawing. @param {ImageBitmap} image */
  show(image) {
    this.#end();
    this.#states.push({ image, strokes: [] });
    this.#changed();
  }

  /** Return what is on the sheet as it is read, ImageData; null if there is nothing. */
  picture() {
    if (this.isEmpty) return null;
    const { image, strokes } = this.#state;
    const { width, height } = image ?? { width: SIDE, height: SIDE };
    const context = new OffscreenCanvas(width, height).getContext("2d");
    if (image) {
      context.drawImage(image, 0, 0);
    } else {
      context.fillStyle = "white";
      context.fillRect(0, 0, width, height);
      trace(context, strokes, SIDE, "black");
    }
    return context.getImageData(0, 0, width, height);
  }

  get #state() {
    return this.#states.at(-1);
  }

  #press(event) {
    const isAnother = this.#pointer !== null || !event.isPrimary; // a second finger, a palm
    if (isAnother || event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId); // the stroke may leave the sheet, and return
    this.#pointer = event.pointerId;
    this.#cursor = null;
    this.#begin(this.#position(event));
    this.#changed();
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const parts = event.getCoalescedEvents?.() ?? [];
    for (const part of parts.length ? parts : [event]) {
      this.#stroke?.points.push(this.#position(part)); // unless it was undone meanwhile
    }
    this.#changed();
  }

  #lift(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#end();
    this.#changed();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) {
      this.#arrows.add(event.key);
      const from = (this.#cursor ??= [0.5, 0.5]);
      const step = event.shiftKey ? STEP / 5 : STEP;
      this.#cursor = from.map((place, axis) => {
        const move = [...this.#arrows].reduce((sum, key) => sum + ARROWS[key][axis], 0);
        return Math.min(1, Math.max(0, place + step * move));
      });
      this.#stroke?.points.push(this.#cursor);
      if (this.#stroke) this.#changed();
      else this.#repaint();
    } else if (event.key === " ") {
      if (event.repeat) return event.preventDefault();
      this.#cursor ??= [0.5, 0.5];
      if (this.#stroke) this.#end();
      else this.#begin(this.#cursor);
      this.#changed();
    } else if (event.key === "Delete" || event.key === "Escape") {
      this.clear();
    } else if (event.key === "Backspace") {
      this.undo();
    } else {
      return;
    }
    event.preventDefault(); // of scrolling
  }

  #leave() {
    this.#arrows.clear();
    this.#cursor = null;
    if (this.#stroke && this.#pointer === null) {
      this.#end();
      this.#changed();
    } else {
      this.#repaint();
    }
  }

  #position({ clientX, clientY }) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / height];
  }

  #begin(point) {
    const { image, strokes } = this.#state;
    this.#stroke = { width: this.width, points: [point] };
    this.#states.push({ image: null, strokes: [...(image ? [] : strokes), this.#stroke] });
  }

  #end() {
    this.#stroke = null;
  }

  #changed() {
    this.#repaint();
    this.#onChange();
  }

  #repaint() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #paint() {
    const { image, strokes } = this.#state;
    const context = this.#context;
    const side = Math.max(1, Math.round(this.#canvas.clientWidth * devicePixelRatio));
    if (this.#canvas.width !== side) this.#canvas.width = this.#canvas.height = side;
    context.clearRect(0, 0, side, side);
    this.#canvas.classList.toggle("picture", Boolean(image));
    const style = getComputedStyle(this.#canvas);
    if (image) {
      const scale = side / Math.max(image.width, image.height);
      const [width, height] = [image.width * scale, image.height * scale];
      context.imageSmoothingEnabled = scale < 4;
      context.drawImage(image, (side - width) / 2, (side - height) / 2, width, height);
    }
    trace(context, strokes, side, style.color);
    if (this.#cursor) {
      const [x, y] = this.#cursor.map((place) => place * side);
      context.beginPath();
      context.arc(x, y, Math.max(4, (this.width * side) / 2), 0, 7);
      context.lineWidth = (this.#stroke ? 3 : 1.5) * devicePixelRatio;
      context.strokeStyle = style.accentColor;
      context.stroke();
    }
  }
}

/** Draw strokes on a square of a side in pixels. */
function trace(context, strokes, side, colour) {
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = colour;
  for (const { width, points } of strokes) {
    const [first, ...rest] = points.map(([x, y]) => [x * side, y * side]);
    context.beginPath();
    context.arc(...first, (width * side) / 2, 0, 7); // a dot is a stroke, too
    context.fill();
    context.beginPath();
    context.moveTo(...first);
    // Curves through the middles of neighbouring points, so that fast strokes have no corners.
    rest.slice(0, -1).forEach(([x, y], i) => {
      context.quadraticCurveTo(x, y, (x + rest[i + 1][0]) / 2, (y + rest[i + 1][1]) / 2);
    });
    if (rest.length) context.lineTo(...rest.at(-1));
    context.lineWidth = width * side;
    context.stroke();
  }
}
