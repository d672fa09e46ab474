/** The style of `<distributary-player>`. A page can set the three properties of `:host`. */

const CSS = `
:host {
  --player-accent: #ff4b57;
  --player-background: #05080b;
  --player-radius: 14px;
  display: block;
  position: relative;
  overflow: hidden;
  aspect-ratio: 16 / 9;
  border-radius: var(--player-radius);
  background: var(--player-background);
  color: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  container-type: inline-size;
}
:host([hidden]), [hidden] { display: none !important; }
:host(:fullscreen) { border-radius: 0; }
*, *::before, *::after { box-sizing: border-box; }
p, dl, dd { margin: 0; }
slot { display: contents; }
video, ::slotted(video) { display: block; width: 100%; height: 100%; object-fit: contain; }
.visually-hidden {
  position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap;
}

/* The newest keyframe, until the video plays. */
.poster { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
:host(:not([data-state="stopped"])) .poster { display: none; }

/* The state in words: over the whole video, or in a corner once media arrives. */
.state {
  position: absolute; inset: 0;
  display: flex; flex-direction: column; align-items: center; justify-content: center; gap: 1rem;
  padding: 1rem 1.5rem; overflow: auto;
  background: rgb(5 8 11 / 78%);
  font-size: 1.05rem; text-align: center; text-wrap: balance;
}
.state > p { display: contents; }
.mark {
  flex: none; width: 2.25rem; height: 2.25rem;
  border: 3px solid rgb(255 255 255 / 25%); border-top-color: #fff; border-radius: 50%;
  animation: turn 1s linear infinite;
}
@keyframes turn { to { rotate: 1turn; } }
:host(:is([data-state="ended"], [data-state="locked"], [data-state="unsupported"])) .mark { display: none; }
:host(:is([data-state="live"], [data-state="stalled"])) .state {
  inset: 0.75rem auto auto 0.75rem;
  flex-direction: row; gap: 0.45rem;
  padding: 0.2rem 0.7rem 0.2rem 0.55rem;
  border-radius: 999px;
  background: rgb(5 8 11 / 66%);
  font-size: 0.85rem; font-weight: 600; font-variant-numeric: tabular-nums;
  transition: opacity 0.25s;
}
:host(:is([data-state="live"], [data-state="stalled"])) .mark {
  width: 0.6rem; height: 0.6rem; border: 0; background: var(--player-accent); animation: none;
}
:host([data-state="stalled"]) .mark { background: #ffbf47; }
:host([data-state="stopped"]) .state, :host([data-state="live"][data-paused]) .state { display: none; }
.lock { display: flex; flex-wrap: wrap; justify-content: center; gap: 0.5rem; }
.lock label { flex-basis: 100%; font-size: 0.88rem; }
.lock input, .lock button {
  min-height: 2.75rem; padding: 0 0.9rem; border: 1px solid #7b8894; border-radius: 10px; font: inherit;
}
.lock input { width: 13rem; max-width: 100%; background: #10171e; color: #fff; }
.lock button { border-color: #fff; background: #fff; color: #10171e; font-weight: 600; cursor: pointer; }
.play {
  position: absolute; inset: 0; margin: auto; width: 5rem; height: 5rem; display: none;
  place-items: center; padding: 0; border: 0; border-radius: 50%;
  background: rgb(255 255 255 / 94%); color: #10171e; cursor: pointer;
}
.play:hover { background: #fff; }
.play svg { width: 2.4rem; height: 2.4rem; }
:host(:is([data-state="stopped"], [data-state="live"][data-paused])) .play { display: grid; }

/* The buttons */
.bar {
  position: absolute; right: 0; bottom: 0; left: 0;
  display: flex; align-items: center; gap: 0.4rem;
  padding: 2.5rem 0.75rem 0.75rem;
  background: linear-gradient(transparent, rgb(0 0 0 / 62%));
}
:host([controls="none"]) .bar { display: none; }
/* Without a video, there is nothing to control. */
:host(:not([data-state="live"], [data-state="stalled"], [data-full])) .bar { display: none; }
:host(:not([data-state="live"], [data-state="stalled"])) .bar > :not(.gap, .full) { display: none; }
:host(:not([data-audio])) :is(.mute, .volume) { display: none; }
:host([data-paused]) .when-playing, :host(:not([data-paused])) .when-paused,
:host([data-full]) .when-window, :host(:not([data-full])) .when-full { display: none; }
.bar > * { flex: none; transition: opacity 0.25s; }
.bar .gap { flex: 1; }
.bar button {
  display: inline-flex; align-items: center; justify-content: center; gap: 0.5rem;
  min-width: 2.75rem; min-height: 2.75rem; padding: 0 0.65rem;
  border: 0; border-radius: 999px;
  background: rgb(20 26 32 / 78%); color: #fff;
  font: inherit; font-weight: 600; cursor: pointer;
}
.bar .quality {
  min-height: 2.75rem; padding: 0 0.65rem;
  border: 0; border-radius: 999px; field-sizing: content;
  background: rgb(20 26 32 / 78%); color: #fff; font: inherit; font-size: 0.88rem; font-weight: 600;
  cursor: pointer;
}
.bar .quality option { background: #10171e; color: #fff; }
.bar button:hover { background: rgb(66 78 90 / 94%); }
.bar button[aria-pressed="true"] { background: rgb(255 255 255 / 94%); color: #10171e; }
:focus-visible { outline: 3px solid #fff; outline-offset: 2px; box-shadow: 0 0 0 2px #05080b; }
.mute[data-muted] { padding: 0 1rem 0 0.8rem; background: #fff !important; color: #10171e !important; }
.mute[data-muted]:hover { background: #dfe7ef !important; }
.mute:not([data-muted]) span { position: absolute; clip-path: inset(50%); }
svg {
  width: 1.5rem; height: 1.5rem; flex: none; fill: none; stroke: currentcolor; stroke-width: 1.8;
  stroke-linecap: round; stroke-linejoin: round;
}
.mute[data-muted] .when-loud, .mute:not([data-muted]) .when-muted { display: none; }
.viewers, .silent {
  padding: 0 0.5rem;
  font-size: 0.88rem; font-variant-numeric: tabular-nums; white-space: nowrap;
}
.silent { color: #d5dde4; }
:is(.viewers, .silent) svg { width: 1.15rem; height: 1.15rem; margin-right: 0.3rem; vertical-align: -0.25rem; }
.viewers b { font-weight: inherit; }
.volume { width: 6rem; height: 2.75rem; margin: 0 0.5rem; accent-color: #fff; cursor: pointer; }
.mute[data-muted] + .volume { display: none; }

/* What a narrow bar does without: see fit.js. */
.bar[data-without~="words"] :is(.mute span, .viewers b, .silent span) {
  position: absolute; clip-path: inset(50%);
}
.bar[data-without~="words"] .mute[data-muted] { padding: 0 0.65rem; }
.bar[data-without~="volume"] .volume, .bar[data-without~="pip"] .pip,
.bar[data-without~="stats"] .stats, .bar[data-without~="viewers"] .viewers { display: none; }
.bar[data-without~="long-quality"] .quality { max-width: 5.5rem; text-overflow: ellipsis; }

/* Stats */
.stats-list {
  position: absolute; top: 0.75rem; right: 0.75rem;
  display: grid; grid-template-columns: auto auto; gap: 0.1rem 0.9rem;
  max-width: calc(100% - 1.5rem);
  padding: 0.6rem 0.9rem; border-radius: 12px;
  background: rgb(5 8 11 / 80%);
  font-size: 0.82rem; font-variant-numeric: tabular-nums;
}
/* Says over the black element that there is no video to show. */
.no-video {
  position: absolute; inset: 0; display: grid; place-items: center;
  padding: 3.5rem 1.5rem; text-align: center; text-wrap: balance;
}
:host(:not([data-state="live"])) .no-video { display: none; }
.stats-list dt { color: #b3c0cc; }
.stats-list dd { text-align: right; white-space: nowrap; }
.notice {
  position: absolute; right: 0.75rem; bottom: 4.25rem; left: 0.75rem;
  padding: 0.55rem 0.9rem; border-radius: 12px;
  background: rgb(255 243 220 / 96%); color: #5c3a00; font-size: 0.88rem;
}

/* While the video plays, controls hide without input; not those that the keyboard has reached, and not
   the button that says that the video is muted. */
:host([data-state="live"][data-idle]:not([data-paused])) :is(.state, .bar:not(:has(:focus-visible)) > :not(.mute[data-muted])) {
  opacity: 0;
}
:host([data-state="live"][data-idle]:not([data-paused])) .bar:not(:has(:focus-visible)) { background: none; }
:host([data-state="live"][data-idle]:not([data-paused])) { cursor: none; }
@container (max-width: 30rem) {
  .stats-list { font-size: 0.74rem; padding: 0.4rem 0.7rem; }
  .stats-list .minor { display: none; }
  :host([stats][data-state="live"]) .state { display: none; }
  .state { gap: 0.6rem; padding: 0.5rem 1rem; font-size: 0.95rem; }
  .lock input { width: 10rem; }
  .mark { width: 1.75rem; height: 1.75rem; }
  .play { width: 4rem; height: 4rem; }
  .bar { gap: 0.25rem; padding: 2rem 0.5rem 0.5rem; }
  .bar button { min-width: 2.5rem; padding: 0 0.5rem; }
  .bar .quality { min-height: 2.5rem; padding: 0 0.4rem; }
  .viewers, .silent { padding: 0 0.2rem; }
}
@media (prefers-reduced-motion: reduce) {
  .mark { animation-duration: 3s; }
  .bar > *, .state { transition: none; }
}
`;

/**
 * The style sheet, which all players share. A page's policy does not restrict constructed style
 * sheets.
 */
export const STYLE = new CSSStyleSheet();
STYLE.replaceSync(CSS);
