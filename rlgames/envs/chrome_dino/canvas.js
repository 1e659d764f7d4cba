// The canvas of chrome://dino: drawn when it is looked at, and what is seen there.
//
// The game draws sprites of one image, as they are, at whole pixels. Where that is all, a picture is put together here
// of sprites that the canvas was asked for once, each a list of its pixels: a tenth of the time that the canvas takes to
// paint all of them and to hand over 84,000 pixels, most of them empty. Everything else the canvas paints itself.

const dinoCanvas = (() => {
  const WIDTH = 600, HEIGHT = 150, SIDE = 84;
  const BOTTOM = 140;  // rows; nothing is drawn below
  const INK = new Uint32Array(SIDE * SIDE + SIDE + 1);  // of the 84 x 84 areas, and room for what is 0 times something
  const COLUMN = Uint16Array.from({length: WIDTH}, (_, x) => Math.floor(7 * x / 50));
  const LEFT = Uint8Array.from({length: WIDTH}, (_, x) => Math.min(7, 50 * (COLUMN[x] + 1) - 7 * x));  // of 7 parts

  const EMPTY = 0;
  const PAPER = new Uint16Array(WIDTH * BOTTOM);  // what has been put there: EMPTY, or 1 + darkness
  const SPRITES = new Map();  // by their place in the image and their opacity
  const COVERED = new Uint32Array(WIDTH * BOTTOM);  // first the places on PAPER that are not EMPTY

  // Stands for the `context` of a canvas and only notes what is to be drawn, until `drawn()`. Frames that nobody looks at
  // are never drawn, for each begins by clearing everything.
  function sketch(context) {
    const notes = [], known = {
      notes,
      drawn() {
        for (const [name, value] of notes) {
          if (Array.isArray(value)) context[name](...value);
          else context[name] = value;
        }
        notes.length = 0;
        return context;
      },
      clearRect(x, y, width, height) {
        if (width >= WIDTH && height >= HEIGHT) notes.length = 0;
        notes.push(["clearRect", [x, y, width, height]]);
      },
    };
    return new Proxy(context, {
      get(_, name) {
        if (name in known) return known[name];
        const value = context[name];
        return typeof value === "function" ? known[name] = (...given) => { notes.push([name, given]); } : value;
      },
      set(_, name, value) {
        notes.push([name, value]);
        return true;
      },
    });
  }

  function pixelsOf({canvasCtx}, rows) {  // (600 x rows) words of alpha, blue, green, red
    return new Uint32Array((canvasCtx.drawn?.() || canvasCtx).getImageData(0, 0, WIDTH, rows).data.buffer);
  }

  function darkness(pixel, channel) {  // of red, green or blue on white: 0 to 255
    const alpha = pixel >>> 24, level = pixel >>> 8 * channel & 255;
    return alpha === 255 ? 255 - level : Math.round(alpha * (255 - level) / 255);
  }

  // The pixels of a sprite that are not empty, as the canvas paints it, row by row: [column, row, 1 + darkness].
  function sprite(image, left, top, width, height, opacity) {
    const key = [left, top, width, height, opacity].join();
    if (SPRITES.has(key)) return SPRITES.get(key);
    const context = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true}), found = [];
    context.globalAlpha = opacity;
    context.drawImage(image, left, top, width, height, 0, 0, width, height);
    let opaque = true;
    new Uint32Array(context.getImageData(0, 0, width, height).data.buffer).forEach((pixel, i) => {
      if (pixel === 0) return;
      opaque &&= pixel >>> 24 === 255;
      found.push(i % width, Math.floor(i / width), 1 + darkness(pixel, 0));
    });
    const made = {pixels: Int16Array.from(found), opaque};
    SPRITES.set(key, made);
    return made;
  }

  // Puts the sprites that the notes ask for on PAPER; how many places they cover, or -1 if the canvas has to paint.
  function put(notes) {
    if (!notes.length || notes[0][0] !== "clearRect") return -1;
    let x = 0, y = 0, opacity = 1, count = 0;
    const kept = [];
    for (let n = 1; n < notes.length; n++) {
      const [name, given] = notes[n];
      if (name === "save") kept.push([x, y, opacity]);
      else if (name === "restore") [x, y, opacity] = kept.pop();
      else if (name === "translate") x += given[0], y += given[1];
      else if (name === "globalAlpha") opacity = given >= 0 && given <= 1 ? given : opacity;
      else {
        const [image, left, top, width, height, toX, toY, ...size] = given;
        if (name !== "drawImage" || size[0] !== width || size[1] !== height) return undo(count);
        if (!Number.isInteger(x + toX) || !Number.isInteger(y + toY)) return undo(count);
        const {pixels, opaque} = sprite(image, left, top, width, height, opacity);
        for (let i = 0; i < pixels.length; i += 3) {
          const column = x + toX + pixels[i], row = y + toY + pixels[i + 1], at = row * WIDTH + column;
          if (column < 0 || column >= WIDTH || row < 0 || row >= BOTTOM) continue;
          if (PAPER[at] === EMPTY) COVERED[count++] = at;
          else if (!opaque) return undo(count);
          PAPER[at] = pixels[i + 2];
        }
      }
    }
    return count;
  }

  function undo(count) {
    for (let i = 0; i < count; i++) PAPER[COVERED[i]] = EMPTY;
    return -1;
  }

  // 84 x 84 bytes: mean levels over areas, on white, inverted at night. An area is 50/7 x 25/14 pixels: in units of
  // 1/7 x 1/14 pixels whole numbers of the canvas's pixels are summed.
  function grey(runner) {
    const count = put(runner.canvasCtx.notes || []);
    INK.fill(0);
    if (count < 0) {
      pixelsOf(runner, BOTTOM).forEach((pixel, at) => {
        if (pixel !== 0) blot(at, darkness(pixel, 0));
      });
    }
    for (let i = 0; i < count; i++) {
      blot(COVERED[i], PAPER[COVERED[i]] - 1);
      PAPER[COVERED[i]] = EMPTY;
    }
    const levels = new Uint8Array(SIDE * SIDE);
    for (let i = 0; i < levels.length; i++) {
      const dark = (INK[i] + 625) / 1250 | 0;
      levels[i] = runner.inverted ? dark : 255 - dark;
    }
    return levels;
  }

  function blot(at, dark) {
    const x = at % WIDTH, y = (at - x) / WIDTH, row = Math.floor(14 * y / 25);
    const upper = Math.min(14, 25 * (row + 1) - 14 * y), lower = 14 - upper;
    const area = row * SIDE + COLUMN[x], left = dark * LEFT[x], right = 7 * dark - left;
    INK[area] += left * upper;
    INK[area + 1] += right * upper;
    INK[area + SIDE] += left * lower;
    INK[area + SIDE + 1] += right * lower;
  }

  function colours(runner) {  // what a person sees: (150, 600, 3) bytes
    const pixels = pixelsOf(runner, HEIGHT), bytes = new Uint8Array(3 * pixels.length);
    pixels.forEach((pixel, at) => {
      for (let c = 0; c < 3; c++) {
        const dark = darkness(pixel, c);
        bytes[3 * at + c] = runner.inverted ? dark : 255 - dark;
      }
    });
    return bytes;
  }

  return {WIDTH, HEIGHT, sketch, grey, colours};
})();
