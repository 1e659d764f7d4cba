// The canvas of chrome://dino: drawn when it is looked at, and what is seen there.

const dinoCanvas = (() => {
  const WIDTH = 600, HEIGHT = 150, SIDE = 84;
  const LOWEST = 140;  // rows; nothing is drawn below
  const INK = new Uint32Array(SIDE * SIDE + SIDE + 1);  // of the 84 x 84 areas, and room for what is 0 times something
  const COLUMN = Uint16Array.from({length: WIDTH}, (_, x) => Math.floor(7 * x / 50));
  const LEFT = Uint8Array.from({length: WIDTH}, (_, x) => Math.min(7, 50 * (COLUMN[x] + 1) - 7 * x));  // of 7 parts

  // Stands for the `context` of a canvas and only notes what is to be drawn, until `drawn()`. Frames that nobody looks at
  // are never drawn, for each begins by clearing everything.
  function sketch(context) {
    const notes = [], known = {
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

  function darkness(pixel) {  // of red, for the game is grey, on white: 0 to 255
    const alpha = pixel >>> 24;
    return alpha === 255 ? 255 - (pixel & 255) : Math.round(alpha * (255 - (pixel & 255)) / 255);
  }

  // 84 x 84 bytes: mean levels over areas, on white, inverted at night. An area is 50/7 x 25/14 pixels: in units of
  // 1/7 x 1/14 pixels whole numbers of the canvas's pixels are summed, and most of those are empty.
  function grey(runner) {
    const pixels = pixelsOf(runner, LOWEST), {inverted} = runner;
    INK.fill(0);
    for (let y = 0, i = 0; y < LOWEST; y++) {
      const row = Math.floor(14 * y / 25), upper = Math.min(14, 25 * (row + 1) - 14 * y), lower = 14 - upper;
      for (let x = 0; x < WIDTH; x++, i++) {
        const pixel = pixels[i];
        if (pixel === 0) continue;
        const at = row * SIDE + COLUMN[x], dark = darkness(pixel), left = dark * LEFT[x], right = 7 * dark - left;
        INK[at] += left * upper;
        INK[at + 1] += right * upper;
        INK[at + SIDE] += left * lower;
        INK[at + SIDE + 1] += right * lower;
      }
    }
    const levels = new Uint8Array(SIDE * SIDE);
    for (let i = 0; i < levels.length; i++) {
      const dark = (INK[i] + 625) / 1250 | 0;
      levels[i] = inverted ? dark : 255 - dark;
    }
    return levels;
  }

  function colours(runner) {  // what a person sees: (150, 600, 3) bytes
    const pixels = pixelsOf(runner, HEIGHT), bytes = new Uint8Array(3 * pixels.length);
    pixels.forEach((pixel, at) => {
      for (let c = 0; c < 3; c++) {
        const dark = Math.round((pixel >>> 24) * (255 - (pixel >>> 8 * c & 255)) / 255);
        bytes[3 * at + c] = runner.inverted ? dark : 255 - dark;
      }
    });
    return bytes;
  }

  return {WIDTH, HEIGHT, sketch, grey, colours};
})();
