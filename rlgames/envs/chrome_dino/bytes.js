// States and pictures as text that a protocol of JSON can carry.

const dinoBytes = (() => {
  // One block of bytes a part, in base64: its state as float64, then its picture if there is one.
  function pack(parts) {
    const sizes = parts.map(([state, picture]) => 8 * state.length + (picture ? picture.length : 0));
    const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
    let at = 0;
    parts.forEach(([state, picture], i) => {
      bytes.set(new Uint8Array(Float64Array.from(state).buffer), at);
      if (picture) bytes.set(picture, at + 8 * state.length);
      at += sizes[i];
    });
    return text(bytes);
  }

  function text(bytes) {
    if (bytes.toBase64) return bytes.toBase64();
    let binary = "";
    for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(binary);
  }

  return {pack, text};
})();
