// States and pixels as base64 text, which the protocol's JSON can carry.

const dinoBytes = (() => {
  // Return one block of bytes for each [state, pixels]: the state as float64, then the pixels if there are any.
  function pack(results) {
    const sizes = results.map(([state, pixels]) => 8 * state.length + (pixels ? pixels.length : 0));
    const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
    let offset = 0;
    results.forEach(([state, pixels], i) => {
      bytes.set(new Uint8Array(Float64Array.from(state).buffer), offset);
      if (pixels) bytes.set(pixels, offset + 8 * state.length);
      offset += sizes[i];
    });
    return toBase64(bytes);
  }

  function toBase64(bytes) {
    if (bytes.toBase64) return bytes.toBase64();
    let binary = "";
    for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(binary);
  }

  return {pack, toBase64};
})();
