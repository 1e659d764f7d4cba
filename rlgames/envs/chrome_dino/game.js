// The page's side of rlgames/ChromeDino-v0: a clock and dice of our own for the game of chrome://dino, several games in
// one page, steps of some frames, and what they look like. It runs before the page's own scripts.
//
// The game asks the page for the time, for random numbers and for animation frames. `takeOver` answers all three from
// the game that is being played, `current`; then a frame happens when `step` says so, and the same dice and keys make
// the same game. Without it (real time) the page runs on the browser's clock and is only looked at.

const dino = (() => {
  const {WIDTH, HEIGHT, sketch, grey, colours} = dinoCanvas, {pack, text} = dinoBytes;
  const FRAME = 1000 / 60;  // ms
  const START = 1000;  // ms, the clock at the beginning of an episode
  const NOOP = 0, JUMP = 1, DUCK = 2, RESET = -1;  // what is held during a frame; RESET restarts instead
  const KEYS = {[JUMP]: 38, [DUCK]: 40};  // codes of the arrows up and down
  const nextPicture = window.requestAnimationFrame.bind(window);  // of the screen
  let games = [], current = null, obstacles = 0;

  class Game {
    constructor() {
      this.clock = START;
      this.dice = 0;
      this.queue = [];  // animation frames that are asked for: [number, function]
      this.asked = 0;
      this.held = NOOP;
      this.frames = 0;  // played in the last step
      this.seen = 0;  // ms of the episode, in real time
    }

    uniform() {  // mulberry32
      this.dice = (this.dice + 0x6D2B79F5) | 0;
      let t = this.dice;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    }

    ask(callback) {
      this.queue.push([++this.asked, callback]);
      return this.asked;
    }

    cancel(number) {
      this.queue = this.queue.filter(([other]) => other !== number);
    }

    // `runner` is the page's game. It is started as after its introduction, which would take the time of the wall.
    adopt(runner, acceleration) {
      current = this;
      this.runner = runner;
      runner.onVisibilityChange = runner.playSound = runner.loadSounds = () => {};
      runner.isCanvasInView = () => true;
      Object.defineProperty(runner, "isDarkMode", {get: () => false, set() {}});  // whatever the desktop's is
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

    // An episode begins: what outlives the page's own restart is put back by hand.
    reset(dice) {
      const {runner} = this, {horizon, tRex} = runner;
      if (!runner.crashed) runner.gameOver();
      this.queue = [];
      this.clock = START;
      this.dice = dice | 0;
      this.held = NOOP;
      this.frames = this.seen = 0;
      horizon.obstacleHistory = [];
      horizon.clouds = [];
      for (const [line, tiles] of this.tiles) line.sourceXPos = [...tiles];
      Object.assign(horizon.nightMode, {xPos: 0, drawStars: false, currentPhase: 0});
      Object.assign(runner.distanceMeter, this.meter, {digits: []});
      Object.assign(tRex, {timer: 0, blinkCount: 0, speedDrop: false, reachedMinHeight: false});
      runner.highestScore = 0;
      runner.restart();
    }

    press(action, send) {
      const {held} = this;
      if (held !== action && held !== NOOP) send("keyup", KEYS[held]);
      if (action === JUMP || (action === DUCK && held !== DUCK)) send("keydown", KEYS[action]);
      this.held = action;
    }

    frame(action) {
      const {runner, queue} = this;
      this.press(action, (type, keyCode) => {
        const event = new KeyboardEvent(type, {keyCode});
        type === "keydown" ? runner.onKeyDown(event) : runner.onKeyUp(event);
      });
      this.clock += FRAME;
      this.queue = [];
      for (const [, callback] of queue) callback(this.clock);
      this.frames++;
    }

    // Up to `frames` frames, fewer if it crashes; returns what is seen, with `pool` the lighter of the last two frames.
    // It halts before each of them, so that somebody may look on.
    *frameByFrame(action, frames, seen, pool) {
      this.frames = 0;
      let before = null, last = null;
      while (this.frames < frames && !this.runner.crashed) {
        yield;
        before = last;
        current = this;
        this.frame(action);
        if (pool) last = grey(this.runner);
      }
      if (!seen) return null;
      if (before) return last.map((level, i) => Math.max(level, before[i]));
      return last || grey(this.runner);
    }

    play(...order) {
      const frames = this.frameByFrame(...order);
      let at = frames.next();
      while (!at.done) at = frames.next();
      return at.value;
    }

    async show(...order) {  // at the pace of the screen
      const frames = this.frameByFrame(...order);
      let at = frames.next();
      while (!at.done) {
        await new Promise(nextPicture);
        at = frames.next();
      }
      return at.value;
    }

    async live(action, frames, seen) {  // by the clock on the wall: as many frames as the page has shown since
      this.press(action, (type, keyCode) => document.dispatchEvent(new KeyboardEvent(type, {keyCode})));
      for (let i = 0; i < frames && !this.runner.crashed; i++) await new Promise(nextPicture);
      const {runningTime} = this.runner;
      this.frames = Math.round((runningTime - this.seen) / FRAME);
      this.seen = runningTime;
      return seen ? grey(this.runner) : null;
    }

    // As `FIELDS` of rlgames/envs/chrome_dino_page.py has them.
    state() {
      const {runner} = this, {tRex, horizon, distanceMeter} = runner, none = new Array(obstacles).fill(0);
      const seen = horizon.obstacles.slice(0, obstacles);
      const column = (value) => seen.map(value).concat(none).slice(0, obstacles);
      const state = [
        this.frames, runner.crashed, distanceMeter.getActualDistance(Math.ceil(runner.distanceRan)),
        this.dice >>> 0, this.held, runner.currentSpeed, runner.distanceRan, runner.runningTime,
        tRex.yPos, tRex.jumpVelocity, tRex.jumping, tRex.ducking, tRex.speedDrop, tRex.reachedMinHeight,
        runner.inverted, runner.invertTimer, horizon.nightMode.opacity, seen.length,
        ...column((o) => horizon.obstacleTypes.indexOf(o.typeConfig)), ...column((o) => o.xPos), ...column((o) => o.yPos),
        ...column((o) => o.width), ...column((o) => o.size), ...column((o) => o.gap), ...column((o) => o.speedOffset),
        ...column((o) => o.followingObstacleCreated),
      ];
      const unknown = state.findIndex((value) => value === undefined || Number.isNaN(value));
      if (unknown >= 0) throw new Error(`the game has changed: number ${unknown} of its state is not there`);
      return state;
    }
  }

  return {
    takeOver(visible) {  // by a person; otherwise pictures are drawn when they are looked at
      games = [current = new Game()];
      Math.random = () => current.uniform();
      performance.now = () => current.clock;
      window.requestAnimationFrame = (callback) => current.ask(callback);
      window.cancelAnimationFrame = (number) => current.cancel(number);
      if (visible) return;
      const {getContext} = HTMLCanvasElement.prototype, sketches = new WeakMap();
      HTMLCanvasElement.prototype.getContext = function (kind) {
        if (!sketches.has(this)) sketches.set(this, sketch(getContext.call(this, kind, {willReadFrequently: true})));
        return sketches.get(this);
      };
    },

    // What is missing of the game as we know it; "" if nothing, null while the page is still loading.
    missing() {
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

    // `count` games in this page. States have room for `room` obstacles; only a `visible` game is laid out and painted.
    boot(count, room, acceleration, visible) {
      obstacles = room;
      const first = Runner.getInstance();
      if (games.length) {  // its keys are pressed by us alone
        for (const type of ["keydown", "keyup", "pointerdown", "pointerup"]) document.removeEventListener(type, first);
      }
      games[0] ||= new Game();
      games[0].adopt(first, acceleration);
      for (let i = 1; i < count; i++) {
        games[i] = current = new Game();
        const runner = new Runner("body", {...first.config});
        runner.startListening = runner.setArcadeMode = runner.adjustDimensions = () => {};  // it shares the first one's
        runner.loadImages();
        games[i].adopt(runner, acceleration);
      }
      if (!visible) for (const {runner} of games) runner.containerEl.style.display = "none";
    },

    // An order for each game: [RESET, dice], or [action, frames, dice, last]: with dice (not null) the game restarts in
    // the same step if it crashed, or if these frames were its `last`. Returns all games, then those that restarted.
    step(orders, seen, pool) {
      const parts = [], restarted = [];
      orders.forEach(([action, number, dice, last], i) => {
        const game = current = games[i];
        if (action === RESET) game.reset(number);
        const picture = game.play(action, action === RESET ? 0 : number, seen, pool);
        parts.push([game.state(), picture]);
        if (action === RESET || dice === null || !(last || game.runner.crashed)) return;
        game.reset(dice);
        restarted.push([game.state(), game.play(NOOP, 0, seen, false)]);
      });
      return pack(parts.concat(restarted));
    },

    // The same for the first game alone, before somebody's eyes or in real time.
    async slowly([[action, number]], seen, pool, live) {
      const game = games[0];
      if (action === RESET) game.reset(number);
      const frames = action === RESET ? 0 : number;
      const picture = await (live ? game.live(Math.max(action, NOOP), frames, seen) : game.show(action, frames, seen, pool));
      return pack([[game.state(), picture]]);
    },

    colours: (i) => text(colours(games[i].runner)),
  };
})();
