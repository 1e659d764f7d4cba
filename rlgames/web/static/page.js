// One page, two sources. Static: games in WebAssembly, compiled from the rules that train agents in Python, and agents
// as weights. Live: a Python process sends frames through a websocket. Both give the same frames to one view.

// ---- games in WebAssembly ----

const MASK = (1n << 64n) - 1n;

/** Initial state of a game's random stream: `rlgames.engine.rng.seed_stream`. */
export function seedStream(seed) {
  let z = ((BigInt(seed) + 1n) * 0xD1342543DE82EF95n) & MASK;
  z = ((z ^ (z >> 32n)) * 0xAEF17502108EF2D9n) & MASK;
  return z ^ (z >> 29n);
}

const ARRAYS = { uint8: Uint8Array, float32: Float32Array };

/** A module's memory behind its own data, handed out piece by piece. */
class Memory {
  constructor(exports) {
    this.memory = exports.memory;
    this.next = (exports.__heap_base.value + 15) & ~15;
  }

  take(bytes) {
    const at = this.next;
    this.next = (at + bytes + 15) & ~15;
    const missing = this.next - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    return at;
  }
}

/** One game: its record, its observation and its picture as a list of shapes. */
export class Game {
  constructor(module, spec) {
    const instance = new WebAssembly.Instance(module, { env: { fmod: (x, y) => x % y, tanh: Math.tanh } });
    this.rules = instance.exports;
    this.spec = spec;
    this.memory = new Memory(this.rules);
    this.record = this.memory.take(spec.record.size);
    this.size = spec.observation.shape.reduce((a, b) => a * b, 1);
    this.obs = this.memory.take(this.size * 4);
    this.shapes = this.memory.take(spec.picture.capacity * 8);
  }

  reset(seed) {
    const { buffer } = this.memory.memory;
    new Uint8Array(buffer, this.record, this.spec.record.size).fill(0);
    new DataView(buffer).setBigUint64(this.record + this.spec.record.rng, seedStream(seed), true);
    this.rules.reset(this.record);
  }

  step(action) {
    return this.rules.step(this.record, action);
  }

  observe() {
    this.rules.observe(this.record, this.obs);
    return new ARRAYS[this.spec.observation.dtype](this.memory.memory.buffer, this.obs, this.size).slice();
  }

  draw() {
    const length = this.rules.draw(this.record, this.shapes);
    return new Float64Array(this.memory.memory.buffer, this.shapes, length);
  }

  get score() {
    return new DataView(this.memory.memory.buffer).getFloat64(this.record + this.spec.record.score, true);
  }

  get over() {
    return new Uint8Array(this.memory.memory.buffer)[this.record + this.spec.record.over] !== 0;
  }
}

const FILL = 0, DISC = 1, BAR = 2, LINE = 3; // rlgames.engine.shapes; 4 is a polygon

/** Paint a list of shapes; a unit is `cell` pixels of a canvas. */
function paintShapes(context, shapes, cell) {
  context.lineJoin = "round";
  for (let at = 2; at < shapes.length;) {
    const kind = shapes[at], count = shapes[at + 2];
    const v = Array.from(shapes.subarray(at + 3, at + 3 + count), (x) => x * cell);
    context.fillStyle = context.strokeStyle = `#${shapes[at + 1].toString(16).padStart(6, "0")}`;
    context.beginPath();
    if (kind === FILL) {
      context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    } else if (kind === DISC) {
      context.arc(v[0], v[1], v[2], 0, 2 * Math.PI);
      context.fill();
    } else if (kind === BAR) {
      context.roundRect(v[0], v[1], v[2] - v[0], v[3] - v[1], v[4]);
      context.fill();
    } else {
      const points = kind === LINE ? v.slice(1) : v;
      for (let i = 0; i < points.length; i += 2) context.lineTo(points[i], points[i + 1]);
      if (kind === LINE) {
        context.lineWidth = Math.max(1, v[0]);
        context.stroke();
      } else {
        context.fill();
      }
    }
    at += 3 + count;
  }
}

// ---- networks ----

/** A network whose layers the game's module computes; `described` is `rlgames.web.network.describe_network`. */
class Network {
  constructor(game, described, weights) {
    this.game = game;
    this.described = described;
    const memory = game.memory;
    this.weights = memory.take(weights.byteLength);
    const sizes = { dense: (x) => [x.inputs, x.outputs], convolution: (x) => [x.channels * x.height * x.width,
      x.filters * rows(x.height, x) * rows(x.width, x)] };
    const prepare = (layers) => layers.map((layer) => {
      const [inputs, outputs] = sizes[layer.kind](layer);
      return { ...layer, inputs, outputs, y: memory.take(outputs * 4), dy: memory.take(outputs * 4) };
    });
    this.encoder = prepare(described.encoder);
    this.outputs = prepare(described.outputs);
    this.valueEncoder = described.value_encoder && prepare(described.value_encoder);
    this.value = described.value && prepare(described.value);
    this.inputs = (this.encoder[0] ?? this.outputs[0]).inputs;
    this.x = memory.take(this.inputs * 4);
    this.dx = memory.take(this.inputs * 4);
    this.floats(this.weights, weights.length).set(weights);
  }

  floats(at, length) {
    return new Float32Array(this.game.memory.memory.buffer, at, length);
  }

  run(layers, x) {
    for (const layer of layers) {
      const weights = this.weights + 4 * layer.weights, bias = this.weights + 4 * layer.bias;
      this.game.rules[layer.kind](x, weights, bias, layer.y, ...shape(layer));
      x = layer.y;
    }
    return x;
  }

  /** Return action logits or values, and the value of an observation, a Float32Array. */
  forward(obs) {
    this.floats(this.x, this.inputs).set(obs);
    const features = this.run(this.encoder, this.x);
    const outputs = Array.from(this.floats(this.run(this.outputs, features), this.outputs.at(-1).outputs));
    let value = null;
    if (this.value) {
      const its = this.valueEncoder ? this.run(this.valueEncoder, this.x) : features;
      value = this.floats(this.run(this.value, its), 1)[0];
    }
    if (this.described.kind === "q") {
      if (value !== null) { // dueling: Q = V + A - mean A
        const mean = outputs.reduce((a, b) => a + b) / outputs.length;
        outputs.forEach((a, i) => { outputs[i] = Math.fround(a - mean + value); });
      }
      value = Math.max(...outputs);
    }
    return { outputs, value };
  }

  /** Return abs(gradient) of one output with respect to the observation of the last `forward`. */
  saliency(action) {
    const layers = [...this.encoder, ...this.outputs];
    const last = layers.at(-1);
    this.floats(last.dy, last.outputs).fill(0)[action] = 1;
    for (let i = layers.length - 1; i >= 0; i--) {
      const layer = layers[i], weights = this.weights + 4 * layer.weights;
      const dx = i > 0 ? layers[i - 1].dy : this.dx;
      this.game.rules[`${layer.kind}_gradient`](layer.dy, layer.y, weights, dx, ...shape(layer));
    }
    return this.floats(this.dx, this.inputs).map(Math.abs);
  }
}

const rows = (length, layer) => Math.floor((length - layer.kernel) / layer.stride) + 1;
const shape = (layer) => (layer.kind === "dense"
  ? [layer.inputs, layer.outputs, layer.activation]
  : [layer.channels, layer.height, layer.width, layer.filters, layer.kernel, layer.stride]);

function argmax(values) {
  return values.indexOf(Math.max(...values));
}

function softmax(logits) {
  const highest = Math.max(...logits), powers = logits.map((x) => Math.exp(x - highest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((x) => x / sum);
}

/** Preprocessing of frames as `rlgames.Pixels` does it: crop, erase, stack, scale. */
class Preprocessing {
  constructor(settings, [height, width]) {
    this.settings = settings;
    [this.height, this.width] = [height, width];
    const [top, bottom, left, right] = settings.crop ?? [0, height, 0, width ?? 1];
    Object.assign(this, { top, bottom, left, right });
    this.levels = settings.erase.length
      ? Uint8Array.from({ length: 256 }, (_, i) => (settings.erase.includes(i) ? 0 : 255)) : null;
  }

  /** Return what the network sees of a frame. */
  frame(frame) {
    if (!(frame instanceof Uint8Array) || this.width === undefined) return frame;
    const { top, bottom, left, right, levels } = this;
    const cropped = new Uint8Array((bottom - top) * (right - left));
    for (let row = top, at = 0; row < bottom; row++) {
      for (let column = left; column < right; column++, at++) {
        const level = frame[row * this.width + column];
        cropped[at] = levels ? levels[level] : level;
      }
    }
    return cropped;
  }

  reset(frame) {
    this.frames = Array(this.settings.stack).fill(this.frame(frame));
  }

  add(frame) {
    this.frames = [...this.frames.slice(1), this.frame(frame)];
  }

  /** Return the observation: the stacked frames, and what the network computes from. */
  observation() {
    const length = this.frames[0].length, data = new this.frames[0].constructor(length * this.frames.length);
    this.frames.forEach((frame, i) => data.set(frame, i * length));
    const input = Float32Array.from(data, data instanceof Uint8Array ? (x) => Math.fround(x * Math.fround(1 / 255)) : undefined);
    const image = this.width === undefined ? null : [this.frames.length, this.bottom - this.top, this.right - this.left];
    return { data, input, image };
  }
}

/** An agent that plays one game, or only looks on while a person plays. */
export class Player {
  constructor(module, spec, agent, weights) {
    this.game = new Game(module, spec);
    this.agent = agent;
    this.network = agent && new Network(this.game, agent.network, weights);
    this.preprocessing = agent && new Preprocessing(agent.preprocessing, spec.observation.shape);
    this.skip = agent ? agent.preprocessing.skip : 1;
    this.actions = [];
  }

  reset(seed) {
    this.seed = seed;
    this.game.reset(seed);
    this.actions = [];
    this.frames = this.decisions = 0;
    if (!this.agent) return;
    this.preprocessing.reset(this.game.observe());
    this.decide();
  }

  decide() {
    const obs = this.preprocessing.observation();
    const { outputs, value } = this.network.forward(obs.input);
    this.thought = { obs, outputs, value, action: argmax(outputs) };
    this.decisions += 1;
  }

  /** Advance one frame with `action`, or with the agent's own. */
  step(action = null) {
    if (this.game.over) return;
    const { maxPool } = this, chosen = action ?? this.thought.action;
    const before = maxPool && this.frames % this.skip > 0 ? this.game.observe() : null;
    this.actions.push(chosen);
    this.game.step(chosen);
    this.frames += 1;
    if (!this.agent || (this.frames % this.skip > 0 && !this.game.over)) return;
    const frame = this.game.observe();
    if (before) frame.forEach((level, i) => { frame[i] = Math.max(level, before[i]); });
    this.preprocessing.add(frame);
    this.decide();
  }

  get maxPool() {
    return this.agent?.preprocessing.max_pool;
  }
}

/** Return the scores of an agent's greedy episodes, one a seed. */
export async function evaluate(base, gameName, agentName, seeds) {
  const source = await StaticSource.open(base);
  await source.choose(gameName, agentName);
  return seeds.map((seed) => {
    const { player } = source;
    player.reset(seed);
    while (!player.game.over) player.step();
    return player.game.score;
  });
}

// ---- the address: game, agent, seed and actions, so that a link replays a game ----

export function encodeActions(actions) {
  const runs = [];
  for (const action of actions) {
    if (runs.length && runs.at(-1)[0] === action) runs.at(-1)[1] += 1;
    else runs.push([action, 1]);
  }
  return runs.map(([action, count]) => `${action}-${count.toString(36)}`).join("_");
}

export function decodeActions(text) {
  return text.split("_").filter(Boolean).flatMap((run) => {
    const [action, count] = run.split("-");
    return Array(Math.min(parseInt(count, 36) || 0, 1e6)).fill(Number(action));
  });
}

// ---- sources ----

const GAME_OVER_PAUSE = 1200; // ms

/** Games and agents in this page. */
class StaticSource {
  static async open(base) {
    const source = new StaticSource();
    source.base = base;
    source.manifest = await (await ask(new URL("page.json", base))).json();
    source.games = source.manifest.games;
    source.modules = new Map();
    return source;
  }

  async choose(gameName, agentName) {
    const spec = this.games.find((each) => each.name === gameName) ?? this.games[0];
    const agent = spec.agents.find((each) => each.name === agentName) ?? spec.agents[0];
    if (!this.modules.has(spec.name)) {
      this.modules.set(spec.name, await WebAssembly.compile(await askCompressed(new URL(spec.module, this.base))));
    }
    const weights = joinPlanes(await askCompressed(new URL(agent.weights, this.base)));
    const module = this.modules.get(spec.name);
    Object.assign(this, { spec, agent, player: new Player(module, spec, agent, weights), rival: null });
    this.makeRival = () => new Player(module, spec, null, null);
    this.best = null;
  }

  start(onFrame) {
    Object.assign(this, { onFrame, seed: 0, paused: false, speed: 1, human: false, versus: false, wantSaliency: false,
      held: null, replay: null, last: performance.now(), owed: 0, overSince: null });
    this.restart();
    const loop = (now) => {
      this.advance(now);
      requestAnimationFrame(loop);
    };
    requestAnimationFrame(loop);
  }

  restart(seed = this.seed) {
    this.seed = seed;
    this.player.reset(seed);
    this.rival = this.versus ? this.makeRival() : null;
    this.rival?.reset(seed);
    this.overSince = null;
    this.emit();
  }

  get over() {
    return this.player.game.over && (!this.rival || this.rival.game.over);
  }

  advance(now) {
    this.owed += Math.min(now - this.last, 250) * this.speed * this.spec.fps / 1000;
    this.last = now;
    if (this.paused) this.owed = 0;
    if (this.over && !this.paused) {
      this.overSince ??= now;
      if (now - this.overSince > GAME_OVER_PAUSE / Math.max(1, this.speed)) {
        this.replay = null;
        this.restart(this.seed + 1);
      }
      this.owed = 0;
      return;
    }
    if (this.owed < 1) return;
    for (; this.owed >= 1 && !this.over; this.owed--) this.frame();
    this.emit();
  }

  frame() {
    const { player, rival } = this, held = this.held ?? 0;
    if (this.replay && player.frames >= this.replay.length) {
      this.paused = true; // the end of the link
      return;
    }
    if (this.replay) player.step(this.replay[player.frames]);
    else player.step(this.human && !rival ? held : null);
    rival?.step(held);
    if (player.game.over) this.best = Math.max(this.best ?? -Infinity, player.game.score);
  }

  command(name, value) {
    if (name === "step") {
      this.paused = true;
      this.frame();
    } else if (name === "restart") {
      this.replay = null;
      return this.restart(value);
    } else if (name === "replay") {
      this.replay = value;
    } else if (name === "versus") {
      Object.assign(this, { versus: value, human: false });
      return this.restart();
    } else {
      this[name] = value; // paused, speed, human, held, wantSaliency
    }
    return this.emit();
  }

  emit() {
    const { player, rival, spec, agent } = this, { thought } = player;
    const { width, height, cell } = spec.picture;
    const paint = (game) => (context) => paintShapes(context, game.draw(), context.canvas.width / width * cell);
    this.onFrame({
      boards: [player, rival].map((each) => each && { width, height, paint: paint(each.game), score: each.game.score, over: each.game.over }),
      obs: thought.obs, kind: agent.network.kind, outputs: thought.outputs, value: thought.value, action: thought.action,
      saliency: this.wantSaliency ? player.network.saliency(thought.action) : null,
      time: player.frames, decisions: player.decisions, best: this.best, seed: this.seed, paused: this.paused, human: this.human, versus: this.versus,
      replaying: Boolean(this.replay), speed: this.speed,
    });
  }

  /** Return the address that replays the running game: the person's where one plays. */
  link() {
    const actions = encodeActions((this.rival ?? this.player).actions);
    const parameters = new URLSearchParams({ game: this.spec.name, agent: this.agent.name, seed: this.seed, actions });
    return new URL(`#${parameters}`, location.href).href;
  }
}

const RECONNECT = 1000, TRAINING_INTERVAL = 2000; // ms

/** A game in a Python process, see `rlgames.web.live`. */
class LiveSource {
  constructor(description) {
    this.spec = { ...description, agents: [{ name: "live", title: description.agent }] };
    [this.agent] = this.spec.agents;
    this.games = [this.spec];
    this.live = true;
  }

  async choose() {}

  start(onFrame, onLost) {
    const address = new URL("frames", location.href.replace(/^http/, "ws"));
    address.search = location.search;
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.command("hello");
    this.socket.onmessage = async ({ data }) => onFrame(await decodeFrame(data));
    this.socket.onclose = () => {
      onLost();
      setTimeout(() => this.start(onFrame, onLost), RECONNECT);
    };
  }

  /** Call `onTraining` with the curves of a running training, again and again. */
  async watchTraining(onTraining) {
    const address = new URL("training.json", location.href);
    address.search = location.search;
    for (;;) {
      try {
        const training = document.hidden ? null : await (await ask(address)).json();
        if (training) onTraining(training);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // the connection is lost, which the frames say
      }
      await new Promise((resume) => { setTimeout(resume, TRAINING_INTERVAL); });
    }
  }

  command(name, value = null) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ name, value }));
  }
}

/** Return a frame of `rlgames.web.frames` as the static source makes them. */
async function decodeFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const part = (name) => {
    const found = facts.parts[name];
    if (!found) return null;
    const from = 4 + length + found.offset;
    return ARRAYS[found.dtype] ? new ARRAYS[found.dtype](buffer, from, found.length / ARRAYS[found.dtype].BYTES_PER_ELEMENT)
      : new Uint8Array(buffer, from, found.length);
  };
  const picture = await createImageBitmap(new Blob([part("picture")], { type: "image/png" }));
  const paint = (context) => {
    context.imageSmoothingEnabled = picture.width >= context.canvas.width;
    context.drawImage(picture, 0, 0, context.canvas.width, context.canvas.height);
  };
  const [width, height] = facts.parts.picture.size, { shape } = facts.parts.obs;
  const image = shape.length < 2 ? null : shape.length === 2 ? [1, ...shape] : shape;
  const board = { width, height, paint, score: facts.score, over: facts.over };
  return { ...facts, boards: [board, null], obs: { data: part("obs"), image }, saliency: part("saliency"),
    decisions: facts.time + 1, versus: false, replaying: false };
}

async function ask(url) {
  const answer = await fetch(url);
  if (answer.status === 403) throw new Error(await answer.text());
  if (!answer.ok) throw new Error(`${url} could not be loaded (${answer.status}): was the whole folder copied?`);
  return answer;
}

/** Return the content of a file that is compressed by gzip, whatever the server does about compression. */
async function askCompressed(url) {
  const { body } = await ask(url);
  return new Response(body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** Return the numbers of `rlgames.web.page.planes_of`, which has the first bytes of all, then the second ones, ... */
function joinPlanes(buffer) {
  const planes = new Uint8Array(buffer), bytes = new Uint8Array(planes.length), count = planes.length / 4;
  planes.forEach((byte, i) => { bytes[4 * (i % count) + Math.floor(i / count)] = byte; });
  return new Float32Array(bytes.buffer);
}

// ---- the view ----

const at = (id) => document.getElementById(id);

/** Shows frames, and sends what a person wants to the source. */
class View {
  constructor(source) {
    this.source = source;
    this.values = [];
    this.bars = [];
    this.ended = false; // the training that is shown
    this.touched = []; // actions of the buttons that are held, the last one counts
    this.keys = new Set(); // that are held
  }

  show() {
    say("Waiting for the game …");
    this.bind();
    this.describe();
  }

  /** Show names and keys of the chosen game. */
  describe() {
    const { spec, agent } = this.source;
    fill(at("game"), this.source.games.map((each) => [each.name, each.title]), spec.name);
    fill(at("agent"), spec.agents.map((each) => [each.name, each.title]), agent.name);
    this.name(agent.title);
    at("bars").replaceChildren();
    this.bars = spec.actions.map((name) => {
      const label = make("dt", name), cell = make("dd"), number = make("dd", "", "number"), bar = make("div", "", "bar");
      const filled = make("i");
      filled.style.width = "0";
      bar.append(filled);
      cell.append(bar);
      at("bars").append(label, cell, number);
      return { label, filled, number };
    });
    at("keys").replaceChildren(...spec.actions.map((name, action) => {
      const button = make("button", name);
      button.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        this.touch(action, true);
      });
      for (const end of ["pointerup", "pointercancel", "pointerleave", "blur"]) {
        button.addEventListener(end, () => this.touch(action, false));
      }
      return button;
    }));
    const keys = spec.keys.slice(0, KEYS).map(([held, action]) => {
      const names = held.flatMap((key, i) => [...(i ? ["+"] : []), make("kbd", key === " " ? "space" : key)]);
      if (held.length === 1 && ARROWS[held[0]]) names.push(" or ", make("kbd", ARROWS[held[0]]));
      return [...names, ` ${spec.actions[action]}`];
    });
    at("game-keys").replaceChildren(...keys.flatMap((each, i) => [i ? ", " : "In the game: ", ...each]), keys.length ? "." : "");
    for (const id of ["versus", "versus-key", "share"]) at(id).hidden = Boolean(this.source.live);
    for (const id of ["game", "agent"]) at(id).parentElement.hidden = Boolean(this.source.live);
    at("controls").className = this.source.live ? "live" : "";
    document.title = `rlgames: ${spec.title}`;
    this.values = [];
  }

  name(title) {
    const text = this.source.live ? `${this.source.spec.title}: ${title}` : title;
    if (at("player-name").textContent !== text) at("player-name").textContent = text;
  }

  touch(action, down) {
    this.touched = this.touched.filter((each) => each !== action);
    if (down) this.touched.push(action);
    this.hold();
  }

  press(key, down) {
    if (down) this.keys.add(key);
    else this.keys.delete(key);
    this.hold();
  }

  /** Tell the source which action is held: a button's, or that of most of the held keys. */
  hold() {
    const held = this.source.spec.keys.filter(([keys]) => keys.every((key) => this.keys.has(key)));
    held.sort(([a], [b]) => b.length - a.length);
    this.source.command("held", this.touched.at(-1) ?? held[0]?.[1] ?? null);
  }

  frame(frame) {
    this.now = frame;
    at("stage").hidden = false;
    const [board, rival] = frame.boards;
    if (frame.agent) this.name(frame.agent);
    at("rival").hidden = !rival; // first: it takes half of the room
    at("boards").className = rival && board.width > 2 * board.height ? "wide" : "";
    paintBoard(at("picture"), board);
    if (rival) paintBoard(at("rival-picture"), rival);
    const best = frame.best === null ? "" : `, best ${format(frame.best)}`;
    at("score").textContent = `${format(board.score)}${best}`;
    if (rival) at("rival-score").textContent = format(rival.score);
    const frames = frame.obs.image?.[0] ?? 1;
    at("frames").textContent = frames > 1 ? `${frames} frames, newest right` : "";
    paintObservation(at("observation"), frame.obs, frame.saliency);
    this.paintBars(frame);
    if (frame.time === 0) {
      this.values = [];
      this.decisions = 0;
    }
    if (frame.value !== null && frame.decisions !== this.decisions) {
      this.decisions = frame.decisions;
      this.values.push(frame.value);
      if (this.values.length > 600) this.values.shift();
      at("value").textContent = frame.value.toFixed(2);
      paintChart(at("values"), [{ steps: this.values.keys(), values: this.values }]);
    }
    toggle("pause", frame.paused, frame.paused ? "Play" : "Pause");
    toggle("take-over", frame.human, frame.human ? "Hand back" : "Take over");
    at("take-over").disabled = frame.versus;
    toggle("versus", frame.versus);
    at("keys").hidden = !(frame.human || frame.versus);
    if (document.activeElement !== at("seed")) at("seed").value = frame.seed;
    if (document.activeElement !== at("speed")) at("speed").value = frame.speed; // another viewer may have set it
    at("saliency").checked = Boolean(frame.saliency);
    const ended = board.over && (!rival || rival.over);
    say(ended && frame.paused ? "Game over, paused" : ended ? "Game over" : frame.paused ? "Paused" : frame.replaying ? "Replay" : frame.human || frame.versus ? "You play" : "The agent plays");
  }

  /** Show a training's progress and curves, see `rlgames.web.training`. */
  training({ step, steps, fps, curves }) {
    at("training").hidden = false;
    this.ended = step >= steps;
    const rate = fps === null ? "" : `, ${compact(fps)} steps/s`;
    at("progress").textContent = `${step.toLocaleString("en")} of ${compact(steps)} steps${rate}`;
    at("progress-bar").style.width = `${Math.min(100, 100 * step / steps)}%`;
    const curve = (name, settings = {}) => ({ steps: curves[name]?.[0] ?? [], values: curves[name]?.[1] ?? [], ...settings });
    const scores = curve("rollout/score_mean"), evaluations = curve("eval/score_mean", { color: "--warm", dots: true });
    at("curve-now").textContent = scores.values.length ? format(scores.values.at(-1)) : "";
    paintChart(at("curve"), [scores, evaluations], { from: 0, to: step });
    for (const name of Object.keys(curves).filter((each) => each.startsWith("train/") || each === "time/fps").sort()) {
      const id = `loss-${name.replace(/\W/g, "-")}`, title = name.replace("train/", "").replaceAll("_", " ").replace("time/fps", "steps/s");
      if (!at(id)) {
        const heading = make("h3"), number = make("output"), canvas = make("canvas"), box = make("div");
        number.setAttribute("aria-label", `Newest ${title}`);
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", `${title} over training steps`);
        canvas.id = id;
        heading.append(make("span", title), number);
        box.append(heading, canvas);
        at("losses").append(box);
      }
      at(id).previousElementSibling.lastChild.textContent = significant(curves[name][1].at(-1));
      paintChart(at(id), [curve(name)], { from: 0, to: step });
    }
  }

  paintBars({ kind, outputs, action }) {
    if (outputs.length === 0) return;
    at("bars-title").textContent = kind === "q" ? "Action values" : "Action probabilities";
    const shares = softmax(outputs);
    const low = Math.min(...outputs), high = Math.max(...outputs);
    this.bars.forEach(({ label, filled, number }, i) => {
      const share = kind === "q" ? (high > low ? 0.05 + 0.95 * (outputs[i] - low) / (high - low) : 0.5) : shares[i];
      filled.style.width = `${100 * share}%`;
      number.textContent = kind === "q" ? outputs[i].toFixed(2) : `${Math.round(100 * share)} %`;
      label.className = i === action ? "chosen" : "";
    });
  }

  bind() {
    const { source } = this;
    const click = (id, action) => at(id).addEventListener("click", action);
    const actions = {
      p: () => source.command("paused", !this.now.paused),
      n: () => source.command("step"),
      r: () => source.command("restart", wholeNumber(at("seed").value)),
      t: () => source.command("human", !this.now.human),
      ...(source.live ? {} : { v: () => source.command("versus", !this.now.versus) }),
    };
    for (const [id, key] of [["pause", "p"], ["one-step", "n"], ["restart", "r"], ["take-over", "t"], ["versus", "v"]]) {
      click(id, () => actions[key]());
    }
    click("share", () => this.share());
    at("saliency").addEventListener("change", (event) => source.command("wantSaliency", event.target.checked));
    at("speed").addEventListener("change", (event) => source.command("speed", Number(event.target.value)));
    at("seed").addEventListener("change", (event) => source.command("restart", wholeNumber(event.target.value)));
    const choose = async () => {
      try {
        await source.choose(at("game").value, at("agent").value);
        this.describe();
        source.restart();
      } catch (error) {
        fail(error);
      }
    };
    at("game").addEventListener("change", choose);
    at("agent").addEventListener("change", choose);
    const playing = () => this.now && (this.now.human || this.now.versus);
    const gameKey = (event) => [event.key.toLowerCase(), LETTERS[event.key]].find((key) => key !== undefined
      && source.spec.keys.some(([keys]) => keys.includes(key)));
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.now || event.target.matches("input, select")) return;
      const key = gameKey(event), own = event.key.toLowerCase();
      if (playing() && key !== undefined) {
        event.preventDefault(); // space scrolls, and presses buttons
        if (!event.repeat) this.press(key, true);
      } else if (actions[own] && !event.repeat) {
        actions[own]();
      }
    });
    addEventListener("keyup", (event) => {
      const key = gameKey(event);
      if (key === undefined) return;
      if (playing()) event.preventDefault();
      this.press(key, false);
    });
    addEventListener("blur", () => {
      this.keys.clear();
      this.touched = [];
      this.hold();
    });
  }

  async share() {
    const link = this.source.link();
    history.replaceState(null, "", link);
    try {
      await navigator.clipboard.writeText(link);
      say("The link is copied: it replays this game");
    } catch {
      say("The address of this page replays this game"); // no clipboard without https
    }
  }
}

const LETTERS = { ArrowLeft: "a", ArrowRight: "d", ArrowUp: "w", ArrowDown: "s" };
const KEYS = 12; // that are explained
const ARROWS = { a: "←", d: "→", w: "↑", s: "↓" };
const wholeNumber = (text) => Math.max(0, Math.floor(Number(text)) || 0);
const format = (score) => score.toLocaleString("en", { maximumFractionDigits: 1 });
const compact = (number) => number.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
const significant = (number) => (number !== 0 && Math.abs(number) < 1e-3 ? number.toExponential(1) : compact(number));

function make(tag, text = "", name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (name) element.className = name;
  return element;
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, title]) => new Option(title, value, false, value === chosen)));
}

function toggle(id, pressed, text = null) {
  at(id).setAttribute("aria-pressed", String(Boolean(pressed)));
  if (text !== null && at(id).textContent !== text) at(id).textContent = text;
}

function say(text) {
  if (at("message").textContent !== text) at("message").textContent = text;
}

function fail(error) {
  at("message").className = "error";
  at("message").textContent = error.message;
  throw error;
}

/** Fit the resolution of a canvas to the screen; return its context. */
function fitted(canvas) {
  const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  const height = Math.max(1, Math.round(canvas.clientHeight * devicePixelRatio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return canvas.getContext("2d");
}

function paintBoard(canvas, board) {
  canvas.style.aspectRatio = `${board.width} / ${board.height}`;
  const width = Math.round(Math.min(canvas.parentElement.clientWidth, innerHeight * 0.62 * board.width / board.height) * devicePixelRatio);
  const height = Math.round(width * board.height / board.width);
  if (canvas.width !== width || canvas.height !== height) {
    Object.assign(canvas, { width, height });
    canvas.style.width = `${width / devicePixelRatio}px`;
  }
  board.paint(canvas.getContext("2d"));
}

/** Paint stacked frames side by side, or a vector as bars; what decides is colored. */
function paintObservation(canvas, { data, image }, saliency) {
  const [frames, height, width] = image ?? [1, 24, data.length];
  Object.assign(canvas, { width: width * frames + (frames - 1), height });
  const context = canvas.getContext("2d"), pixels = context.createImageData(canvas.width, height);
  new Uint32Array(pixels.data.buffer).fill(0xFF8A7A6C); // between two frames
  const strongest = saliency ? saliency.reduce((a, b) => Math.max(a, b)) || 1 : 1;
  let span = 1;
  if (!image) for (const x of data) span = Math.max(span, Math.abs(x));
  for (let f = 0; f < frames; f++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = image ? (f * height + y) * width + x : x;
        const heat = saliency ? saliency[from] / strongest : 0;
        let level = data[from];
        if (!image) { // a bar from the middle, up if positive
          const length = data[x] / span * height / 2, middle = height / 2;
          level = (length > 0 ? y < middle && y >= middle - length : y >= middle && y < middle - length) ? 230 : 30;
        }
        const to = 4 * (y * canvas.width + f * (width + 1) + x);
        pixels.data.set([level + heat * (255 - level), level * (1 - 0.6 * heat), level * (1 - heat), 255], to);
      }
    }
  }
  context.putImageData(pixels, 0, 0);
}

/** Paint curves {steps, values, color, dots} over steps `from` .. `to`, the limits beside them. */
function paintChart(canvas, curves, { from, to } = {}) {
  const context = fitted(canvas), { width, height } = canvas, unit = devicePixelRatio;
  const style = getComputedStyle(canvas), color = (name) => style.getPropertyValue(name);
  const shown = curves.map((curve) => ({ ...curve, steps: [...curve.steps] })).filter(({ steps }) => steps.length);
  context.clearRect(0, 0, width, height);
  if (!shown.length) return;
  const all = shown.flatMap(({ values }) => values), steps = shown.flatMap((curve) => curve.steps);
  const low = Math.min(...all), high = Math.max(...all), first = from ?? Math.min(...steps), last = to ?? Math.max(...steps);
  const labels = low === high ? [significant(low)] : [significant(high), significant(low)];
  context.font = `${11 * unit}px system-ui, sans-serif`;
  const left = Math.max(...labels.map((text) => context.measureText(text).width)) + 6 * unit;
  const top = 6 * unit, bottom = height - (to === undefined || height < 100 * unit ? 6 : 20) * unit, right = width - 4 * unit;
  const x = (step) => left + (step - first) / (last - first || 1) * (right - left);
  const y = (value) => (low === high ? (top + bottom) / 2 : bottom - (value - low) / (high - low) * (bottom - top));
  context.strokeStyle = color("--faint");
  context.lineWidth = unit;
  context.fillStyle = color("--soft");
  context.textAlign = "right";
  context.textBaseline = "middle";
  labels.forEach((text, i) => {
    const at = y([high, low][i]);
    context.fillText(text, left - 4 * unit, at);
    context.beginPath();
    context.moveTo(left, at);
    context.lineTo(right, at);
    context.stroke();
  });
  if (bottom < height - 10 * unit) {
    context.textBaseline = "bottom";
    context.fillText(`${compact(last)} steps`, right, height - 2 * unit);
    context.textAlign = "left";
    context.fillText(compact(first), left, height - 2 * unit);
  }
  for (const curve of shown) {
    context.strokeStyle = context.fillStyle = color(curve.color ?? "--accent");
    context.lineWidth = 1.5 * unit;
    context.beginPath();
    curve.steps.forEach((step, i) => {
      const here = [x(step), y(curve.values[i])];
      if (curve.dots) context.moveTo(...here);
      if (curve.dots) context.arc(...here, 3 * unit, 0, 2 * Math.PI);
      else context.lineTo(...here);
    });
    if (curve.dots) context.fill();
    else context.stroke();
  }
}

async function main() {
  try {
    const manifest = new URL("page.json", location.href);
    manifest.search = location.search; // the token of a live page
    const { live } = await (await ask(manifest)).json();
    if (live) return show(new LiveSource(live));
    const asked = new URLSearchParams(location.hash.slice(1));
    const source = await StaticSource.open(new URL(".", location.href));
    await source.choose(asked.get("game"), asked.get("agent"));
    show(source);
    if (asked.has("seed")) source.restart(wholeNumber(asked.get("seed")));
    if (asked.get("actions")) source.command("replay", decodeActions(asked.get("actions")));
  } catch (error) {
    fail(error);
  }
}

function show(source) {
  const view = new View(source);
  view.show();
  const lost = () => say(view.ended ? "The training has ended" : "The connection is lost, trying again …");
  source.start((frame) => view.frame(frame), lost);
  if (source.spec.training) source.watchTraining((training) => view.training(training));
}

if (typeof document !== "undefined" && document.getElementById("stage")) main();
