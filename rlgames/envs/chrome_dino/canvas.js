// The canvas of chrome://dino: records the game's drawing calls and computes the observation and the RGB picture.
//
// The game draws sprites of one image, unscaled, at whole pixels. A frame of nothing else is composed here from sprites
// that the canvas rasterized once, each kept as a list of its pixels. That takes a tenth of the time in which the
// canvas paints all of them and returns 84,000 pixels, most of them empty. The canvas paints all other frames.

const dinoCanvas = (() => {
  const WIDTH = 600, HEIGHT = 150;  // pixels of the canvas
  const SIDE = 84;  // rows and columns of the observation
  const BOTTOM = 140;  // rows of the canvas; nothing is drawn below
  const COLUMN = Uint16Array.from({length: WIDTH}, (_, x) => Math.floor(7 * x / 50));  // of the observation, for each x
  const LEFT = Uint8Array.from({length: WIDTH}, (_, x) => Math.min(7, 50 * (COLUMN[x] + 1) - 7 * x));  // sevenths in it
  const SUMS = new Uint32Array(SIDE * SIDE + SIDE + 1);  // darkness of each area; the end only ever receives zeros

  const EMPTY = 0;
  const COMPOSED = new Uint16Array(WIDTH * BOTTOM);  // a frame: EMPTY, or 1 + darkness
  const COVERED = new Uint32Array(WIDTH * BOTTOM);  // indices of the pixels of COMPOSED that are not EMPTY
  const SPRITES = new Map();  // by position in the image, size and opacity

  // Return a stand-in for a canvas context that records calls and assignments until `flush()` executes them. A frame
  // begins by clearing everything, so frames that are never read are never painted.
  function recorder(context) {
    const calls = [], own = {
      calls,
      flush() {
        for (const [name, value] of calls) {
          if (Array.isArray(value)) context[name](...value);
          else context[name] = value;
        }
        calls.length = 0;
        return context;
      },
      clearRect(x, y, width, height) {
        if (width >= WIDTH && height >= HEIGHT) calls.length = 0;
        calls.push(["clearRect", [x, y, width, height]]);
      },
    };
    return new Proxy(context, {
      get(_, name) {
        if (name in own) return own[name];
        const value = context[name];
        return typeof value === "function" ? own[name] = (...args) => { calls.push([name, args]); } : value;
      },
      set(_, name, value) {
        calls.push([name, value]);
        return true;
      },
    });
  }

  // Return the first `rows` rows of the painted canvas as words of alpha, blue, green and red.
  function readPixels({canvasCtx}, rows) {
    return new Uint32Array((canvasCtx.flush?.() || canvasCtx).getImageData(0, 0, WIDTH, rows).data.buffer);
  }

  // Return the darkness of a channel (red, green or blue) on white, 0 to 255.
  function darkness(pixel, channel) {
    const alpha = pixel >>> 24, level = pixel >>> 8 * channel & 255;
    return alpha === 255 ? 255 - level : Math.round(alpha * (255 - level) / 255);
  }

  // Return the pixels of a sprite that are not empty, as the canvas paints it: column, row, 1 + darkness of each.
  function sprite(image, left, top, width, height, opacity) {
    const key = [left, top, width, height, opacity].join();
    if (SPRITES.has(key)) return SPRITES.get(key);
    const context = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true}), pixels = [];
    context.globalAlpha = opacity;
    context.drawImage(image, left, top, width, height, 0, 0, width, height);
    let opaque = true;
    new Uint32Array(context.getImageData(0, 0, width, height).data.buffer).forEach((pixel, i) => {
      if (pixel === 0) return;
      opaque &&= pixel >>> 24 === 255;
      pixels.push(i % width, Math.floor(i / width), 1 + darkness(pixel, 0));
    });
    const result = {pixels: Int16Array.from(pixels), opaque};
    SPRITES.set(key, result);
    return result;
  }

  // Draw the sprites of the recorded calls into COMPOSED. Return the number of pixels that they cover, or -1 if the
  // canvas must paint the frame.
  function compose(calls) {
    if (!calls.length || calls[0][0] !== "clearRect") return -1;
    let x = 0, y = 0, opacity = 1, count = 0;
    const saved = [];
    for (let n = 1; n < calls.length; n++) {
      const [name, args] = calls[n];
      if (name === "save") saved.push([x, y, opacity]);
      else if (name === "restore") [x, y, opacity] = saved.pop();
      else if (name === "translate") x += args[0], y += args[1];
      else if (name === "globalAlpha") opacity = args >= 0 && args <= 1 ? args : opacity;
      else {
        const [image, left, top, width, height, toX, toY, ...size] = args;
        if (name !== "drawImage" || size[0] !== width || size[1] !== height) return discard(count);
        if (!Number.isInteger(x + toX) || !Number.isInteger(y + toY)) return discard(count);
        const {pixels, opaque} = sprite(image, left, top, width, height, opacity);
        for (let i = 0; i < pixels.length; i += 3) {
          const column = x + toX + pixels[i], row = y + toY + pixels[i + 1], index = row * WIDTH + column;
          if (column < 0 || column >= WIDTH || row < 0 || row >= BOTTOM) continue;
          if (COMPOSED[index] === EMPTY) COVERED[count++] = index;
          else if (!opaque) return discard(count);
          COMPOSED[index] = pixels[i + 2];
        }
      }
    }
    return count;
  }

  function discard(count) {
    for (let i = 0; i < count; i++) COMPOSED[COVERED[i]] = EMPTY;
    return -1;
  }

  // Return the observation, 84 x 84 bytes: mean levels over areas, on white, inverted at night. An area is 50/7 x 25/14
  // pixels of the canvas; in units of 1/7 x 1/14 pixels the sums are whole numbers.
  function grey(runner) {
    const count = compose(runner.canvasCtx.calls || []);
    SUMS.fill(0);
    if (count < 0) {
      readPixels(runner, BOTTOM).forEach((pixel, index) => {
        if (pixel !== 0) addPixel(index, darkness(pixel, 0));
      });
    }
    for (let i = 0; i < count; i++) {
      addPixel(COVERED[i], COMPOSED[COVERED[i]] - 1);
      COMPOSED[COVERED[i]] = EMPTY;
    }
    const levels = new Uint8Array(SIDE * SIDE);
    for (let i = 0; i < levels.length; i++) {
      const dark = (SUMS[i] + 625) / 1250 | 0;
      levels[i] = runner.inverted ? dark : 255 - dark;
    }
    return levels;
  }

  // Add the darkness of a pixel of the canvas to the (up to four) areas that it overlaps.
  function addPixel(index, dark) {
    const x = index % WIDTH, y = (index - x) / WIDTH, row = Math.floor(14 * y / 25);
    const upper = Math.min(14, 25 * (row + 1) - 14 * y), lower = 14 - upper;
    const area = row * SIDE + COLUMN[x], left = dark * LEFT[x], right = 7 * dark - left;
    SUMS[area] += left * upper;
    SUMS[area + 1] += right * upper;
    SUMS[area + SIDE] += left * lower;
    SUMS[area + SIDE + 1] += right * lower;
  }

  // Return the picture that a person sees, (150, 600, 3) bytes.
  function rgb(runner) {
    const pixels = readPixels(runner, HEIGHT), bytes = new Uint8Array(3 * pixels.length);
    pixels.forEach((pixel, index) => {
      for (let c = 0; c < 3; c++) {
        const dark = darkness(pixel, c);
        bytes[3 * index + c] = runner.inverted ? dark : 255 - dark;
      }
    });
    return bytes;
  }

  return {WIDTH, HEIGHT, recorder, grey, rgb};
})();
