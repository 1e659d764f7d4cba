// The page's side of rlgames/ChromeDino-v0: replaces the clock and the RNG of chrome://dino, runs several games in one
// page, steps them and returns their observations. It runs before the page's own scripts.
//
// The game asks the page for the time, for random numbers and for animation frames. `install` answers all three from
// the game that is being stepped, `current`. A frame then happens only within `step`, and the same seed and actions
// give the same episode. Without `install` (real time) the page keeps its own clock and RNG.

const dino = (() => {
  const {WIDTH, HEIGHT, recorder, grey, rgb} = dinoCanvas, {pack, toBase64} = dinoBytes;
  const FRAME = 1000 / 60;  // ms
  const START = 1000;  // ms, the clock at the beginning of an episode
  const NOOP = 0, JUMP = 1, DUCK = 2, RESET = -1;  // keys held during a frame; RESET starts an episode instead
  const KEYS = {[JUMP]: 38, [DUCK]: 40};  // codes of the arrows up and down
  const nextScreenFrame = window.requestAnimationFrame.bind(window);
  let games = [], current = null, maxObstacles = 0;

  class Game {
    constructor() {
      this.clock = START;
      this.rng = 0;
      this.callbacks = [];  // requested animation frames: [id, function]
      this.lastId = 0;
      this.held = NOOP;
      this.frames = 0;  // of the last step
      this.lastTime = 0;  // ms of the episode at the last step, in real time
    }

    uniform() {  // mulberry32
      this.rng = (this.rng + 0x6D2B79F5) | 0;
      let t = this.rng;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    }

    requestFrame(callback) {
      this.callbacks.push([++this.lastId, callback]);
      return this.lastId;
    }

    cancelFrame(id) {
      this.callbacks = this.callbacks.filter(([other]) => other !== id);
    }

    // Take over a Runner, the page's object of a game, in the state after its introduction, which would take real time.
    adopt(runner, acceleration) {
      current = this;
      this.runner = runner;
      runner.onVisibilityChange = runner.playSound = runner.loadSounds = () => {};
      runner.isCanvasInView = () => true;
      Object.defineProperty(runner, "isDarkMode", {get: () => false, set() {}});  // not the desktop's
      if (!acceleration) runner.config.acceleration = 0;
      runner.activated = true;
      runner.startGame();
      runner.tRex.xInitialPos = 24;
      runner.gameOver();
      const {horizonLines} = runner.horizon;
      this.tiles = horizonLines.map((line) => [line, [...line.sourceXPos]]);
      const {maxScore, maxScoreUnits, highScore} = runner.distanceMeter;
      this.meter = {maxScore, maxScoreUnits, highScore, flashTimer: 0, flashIterations: 0, achievement: false};
    }

    // Start an episode. The page's own restart keeps some state of the episode before: it is reset here.
    reset(seed) {
      const {runner} = this, {horizon, tRex} = runner;
      if (!runner.crashed) runner.gameOver();
      this.callbacks = [];
      this.clock = START;
      this.rng = seed | 0;
      this.held = NOOP;
      this.frames = this.lastTime = 0;
      horizon.obstacleHistory = [];
      horizon.clouds = [];
      for (const [line, tiles] of this.tiles) line.sourceXPos = [...tiles];
      Object.assign(horizon.nightMode, {xPos: 0, drawStars: false, currentPhase: 0});
      Object.assign(runner.distanceMeter, this.meter, {digits: []});
      Object.assign(tRex, {timer: 0, blinkCount: 0, speedDrop: false, reachedMinHeight: false});
      runner.highestScore = 0;
      runner.restart();
    }

    // Send the key events between the held action and `action`.
    press(action, send) {
      const {held} = this;
      if (held !== action && held !== NOOP) send("keyup", KEYS[held]);
      if (action === JUMP || (action === DUCK && held !== DUCK)) send("keydown", KEYS[action]);
      this.held = action;
    }

    stepFrame(action) {
      const {runner, callbacks} = this;
      this.press(action, (type, keyCode) => {
        const event = new KeyboardEvent(type, {keyCode});
        type === "keydown" ? runner.onKeyDown(event) : runner.onKeyUp(event);
      });
      this.clock += FRAME;
      this.callbacks = [];
      for (const [, callback] of callbacks) callback(this.clock);
      this.frames++;
    }

    // Run up to `frames` frames, fewer if the T-Rex crashes, and return the pixels: null without `withPixels`, with
    // `maxPool` the maximum over the last two frames. A generator that yields before each frame.
    *frameByFrame(action, frames, withPixels, maxPool) {
      this.frames = 0;
      let previous = null, last = null;
      while (this.frames < frames && !this.runner.crashed) {
        yield;
        previous = last;
        current = this;
        this.stepFrame(action);
        if (maxPool) last = grey(this.runner);
      }
      if (!withPixels) return null;
      if (previous) return last.map((level, i) => Math.max(level, previous[i]));
      return last || grey(this.runner);
    }

    step(...args) {
      const frames = this.frameByFrame(...args);
      let next = frames.next();
      while (!next.done) next = frames.next();
      return next.value;
    }

    async stepVisibly(...args) {  // one frame for each frame of the screen
      const frames = this.frameByFrame(...args);
      let next = frames.next();
      while (!next.done) {
        await new Promise(nextScreenFrame);
        next = frames.next();
      }
      return next.value;
    }

    async stepInRealTime(action, frames, withPixels) {  // the page's clock decides how many frames pass
      this.press(action, (type, keyCode) => document.dispatchEvent(new KeyboardEvent(type, {keyCode})));
      for (let i = 0; i < frames && !this.runner.crashed; i++) await new Promise(nextScreenFrame);
      const {runningTime} = this.runner;
      this.frames = Math.round((runningTime - this.lastTime) / FRAME);
      this.lastTime = runningTime;
      return withPixels ? grey(this.runner) : null;
    }

    // Return the numbers of `FIELDS` in rlgames/envs/chrome_dino/page.py, in its order.
    state() {
      const {runner} = this, {tRex, horizon, distanceMeter} = runner, zeros = new Array(maxObstacles).fill(0);
      const obstacles = horizon.obstacles.slice(0, maxObstacles);
      const each = (value) => obstacles.map(value).concat(zeros).slice(0, maxObstacles);
      const state = [
        this.frames, runner.crashed, distanceMeter.getActualDistance(Math.ceil(runner.distanceRan)),
        this.rng >>> 0, this.held, runner.currentSpeed, runner.distanceRan, runner.runningTime,
        tRex.yPos, tRex.jumpVelocity, tRex.jumping, tRex.ducking, tRex.speedDrop, tRex.reachedMinHeight,
        runner.inverted, runner.invertTimer, horizon.nightMode.opacity, obstacles.length,
        ...each((o) => horizon.obstacleTypes.indexOf(o.typeConfig)), ...each((o) => o.xPos), ...each((o) => o.yPos),
        ...each((o) => o.width), ...each((o) => o.size), ...each((o) => o.gap), ...each((o) => o.speedOffset),
        ...each((o) => o.followingObstacleCreated),
      ];
      const missing = state.findIndex((value) => value === undefined || Number.isNaN(value));
      if (missing >= 0) throw new Error(`the game has changed: number ${missing} of its state is missing`);
      return state;
    }
  }

  return {
    // Replace the page's clock, RNG and animation frames. Unless `visible`, only frames that are read are painted.
    install(visible) {
      games = [current = new Game()];
      Math.random = () => current.uniform();
      performance.now = () => current.clock;
      window.requestAnimationFrame = (callback) => current.requestFrame(callback);
      window.cancelAnimationFrame = (id) => current.cancelFrame(id);
      if (visible) return;
      const {getContext} = HTMLCanvasElement.prototype, contexts = new WeakMap();
      HTMLCanvasElement.prototype.getContext = function (kind) {
        if (!contexts.has(this)) contexts.set(this, recorder(getContext.call(this, kind, {willReadFrequently: true})));
        return contexts.get(this);
      };
    },

    // Return the name of the first part of the game that is missing: "" if none, null while the page is still loading.
    findMissing() {
      if (document.readyState !== "complete") return null;
      if (typeof Runner === "undefined") return "Runner";
      if (!Runner.getInstance) return "Runner.getInstance";
      let runner = null;
      try { runner = Runner.getInstance(); } catch { return "a Runner"; }
      if (!("tRex" in runner && "horizon" in runner && "canvasCtx" in runner)) return "Runner's tRex and horizon";
      if (!runner.tRex || !runner.horizon) return null;
      const {width, height} = runner.canvas;
      return width === WIDTH && height === HEIGHT ? "" : `a canvas of 600 x 150 (it is ${width} x ${height})`;
    },

    // Create `count` games; `state` has a fixed number of `obstacles`. Only a `visible` game is laid out and painted.
    start(count, obstacles, acceleration, visible) {
      maxObstacles = obstacles;
      const first = Runner.getInstance();
      if (games.length) {  // only `press` sends keys
        for (const type of ["keydown", "keyup", "pointerdown", "pointerup"]) document.removeEventListener(type, first);
      }
      games[0] ||= new Game();
      games[0].adopt(first, acceleration);
      for (let i = 1; i < count; i++) {
        games[i] = current = new Game();
        const runner = new Runner("body", {...first.config});
        runner.startListening = runner.setArcadeMode = runner.adjustDimensions = () => {};  // done by the first
        runner.loadImages();
        games[i].adopt(runner, acceleration);
      }
      if (!visible) for (const {runner} of games) runner.containerEl.style.display = "none";
    },

    // Execute one command for each game: [RESET, seed], or [action, frames, seed, last]. With a seed (not null) the
    // game restarts in the same step if it crashed, or if these are the `last` frames of the episode. Return the
    // results of all games, then the first results of those that restarted.
    step(commands, withPixels, maxPool) {
      const results = [], restarted = [];
      commands.forEach(([action, number, seed, last], i) => {
        const game = current = games[i];
        if (action === RESET) game.reset(number);
        const pixels = game.step(action, action === RESET ? 0 : number, withPixels, maxPool);
        results.push([game.state(), pixels]);
        if (action === RESET || seed === null || !(last || game.runner.crashed)) return;
        game.reset(seed);
        restarted.push([game.state(), game.step(NOOP, 0, withPixels, false)]);
      });
      return pack(results.concat(restarted));
    },

    // The same for the first game alone, at the pace of the screen, without restarts in the same step.
    async stepPaced([[action, number]], withPixels, maxPool, realTime) {
      const game = games[0];
      if (action === RESET) game.reset(number);
      const frames = action === RESET ? 0 : number;
      const pixels = await (realTime
        ? game.stepInRealTime(Math.max(action, NOOP), frames, withPixels)
        : game.stepVisibly(action, frames, withPixels, maxPool));
      return pack([[game.state(), pixels]]);
    },

    render: (i) => toBase64(rgb(games[i].runner)),
  };
})();
