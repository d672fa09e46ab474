// Cases for `handover.js`, with simulated sessions and a simulated player: the body of a function of
// `name`. Each case returns what has happened.

const [{ Handover }, { PlayError }] = await Promise.all([
  import(new URL("/assets/handover.js", origin)),
  import(new URL("/assets/session.js", origin)),
]);
// No spread of viewers.
Math.random = () => 0;

/** A session that does at its gateway (`host`) what the gateway's name says. */
class FakeSession {
  lost = false;
  connected = false;
  /** Whether its video plays. */
  plays = false;
  #seen;

  constructor(endpoint, alternates, seen) {
    this.endpoint = endpoint;
    this.alternates = alternates;
    this.#seen = seen;
  }

  get host() {
    return this.endpoint.hostname;
  }

  async open() {
    this.#seen(`open ${this.host}`);
    if (this.host === "hangs") await new Promise(() => {});
    if (this.host === "refuses") throw error("forbidden", 403);
    if (this.host === "locks") throw error("key", 401);
    if (this.host === "fails") throw error("full", 503);
    this.connected = true;
    this.plays = this.host === "plays";
  }

  async getStats() {
    return new Map([["video", { type: "inbound-rtp", framesDecoded: this.plays ? 1 : 0 }]]);
  }

  takeOver(old) {
    this.#seen(`${this.host} takes over from ${old.host}`);
  }

  close() {
    this.#seen(`close ${this.host}`);
  }
}

function error(kind, status) {
  return Object.assign(new PlayError(kind, kind), { status, pause: 0.05 });
}

const url = (host) => new URL(`http://${host}/whep/live/test`);

/** A player with a session at `old`, whose answer named other gateways. */
function player(...alternates) {
  const log = [];
  let rising = 0;
  let most = 0;
  const seen = (what) => {
    log.push(what);
    rising += what.startsWith("open") ? 1 : what.startsWith("close") ? -1 : 0;
    most = Math.max(most, rising);
  };
  const old = new FakeSession(url("old"), alternates.map(url), seen);
  const state = { session: old, pulse: { isGone: true, isIdle: false } };
  const handover = new Handover(url("old"), {
    session: () => state.session,
    pulse: () => state.pulse,
    hasVideo: () => true,
    create: (endpoint) => (state.created = new FakeSession(endpoint, [], seen)),
    adopt: (session) => {
      state.session.close();
      state.session = session;
      handover.stop();
      seen(`show ${session.host}`);
      // It is no longer being brought up.
      rising = 0;
    },
    onEvent: (session, kind) => seen(`${kind} of ${session.host}`),
    giveUp: (problem) => {
      state.session = null;
      handover.stop();
      seen(`give up: ${problem.state}`);
    },
  });
  return { handover, old, state, log, most: () => most };
}

/** Waits until the log of a player has a line. */
async function until({ log }, line) {
  while (!log.includes(line)) await new Promise((done) => setTimeout(done, 5));
}

const CASES = {
  async leaving_tries_one_gateway_after_the_other() {
    const { handover, old, log } = player("fails", "plays");
    await handover.leave(old, url("fails").href);
    return log;
  },

  async leaving_ends_when_the_viewer_is_refused() {
    const { handover, old, log } = player("plays");
    await handover.leave(old, url("refuses").href);
    return [...log, handover.isLeaving(old)];
  },

  async leaving_ends_with_the_session() {
    const { handover, old, state, log } = player("fails");
    const left = handover.leave(old, url("fails").href);
    await until({ log }, "close fails");
    state.session = null;
    await left;
    return log.slice(0, 2);
  },

  async rescue_goes_on_to_a_gateway_that_responds() {
    const { handover, old, log } = player("hangs", "fails", "plays");
    await handover.rescue(old);
    return log;
  },

  async rescue_ends_when_the_gateway_is_back() {
    const { handover, old, state, log } = player("hangs", "plays");
    const rescued = handover.rescue(old);
    await until({ log }, "open hangs");
    const wasRescuing = handover.isRescuing(old);
    state.pulse.isGone = false;
    await rescued;
    return [...log, wasRescuing, handover.isRescuing(old), state.session === old];
  },

  async lost_session_that_nobody_replaces_is_given_up_for_the_reason_of_a_refusal() {
    const { handover, old, log } = player("locks", "fails");
    old.lost = true;
    await handover.rescue(old);
    return log;
  },

  async rescue_goes_before_leaving() {
    const one = player("hangs", "plays");
    const { handover, old, log } = one;
    const rescued = handover.rescue(old);
    await until(one, "open hangs");
    await Promise.all([rescued, handover.leave(old, url("fails").href)]);
    return [...log, one.most()];
  },

  async events_of_a_session_wait_until_it_is_shown() {
    const one = player("connects");
    const { handover, old, state, log } = one;
    const rescued = handover.rescue(old);
    await until(one, "open connects");
    handover.keep(state.created, "inactive", {});
    handover.keep(state.created, "active", {});
    handover.keep(new FakeSession(url("other"), [], () => {}), "layers", {});
    state.created.plays = true;
    await rescued;
    return log;
  },
};

return CASES[name]();
