/**
 * The player for other sites, as a module without dependencies.
 *
 * **As an element:**
 *
 * ```html
 * <script type="module" src="https://gateway.example/assets/player.js"></script>
 * <distributary-player src="https://gateway.example/whep/live/test" autoplay muted></distributary-player>
 * ```
 *
 * | attribute | |
 * |---|---|
 * | `src` | URL of the WHEP endpoint, or of the page of a stream on this gateway; can be changed at any time |
 * | `autoplay` | plays at once; otherwise a button or `play()` starts playback |
 * | `muted` | starts muted, as browsers require for autoplay |
 * | `remember` | starts with the volume and muting that the viewer chose last on this site |
 * | `token` | sent to the endpoint as a bearer token |
 * | `stats` | shows stats of the connection |
 * | `controls="none"` | shows no buttons |
 * | `label` | name of the stream, for screen readers |
 * | `quality` | `auto`, or the height or id of a rendition, such as `720p`; shows the menu, which needs `events` |
 * | `page-keys` | has its keys in the whole page, not only with the focus: for a page with one player |
 * | `events` | listens to events of the gateway: number of viewers, end of the stream |
 * | `data` | opens a data channel for messages of the publisher (metadata, cue points) |
 *
 * Properties: `state`, `text`, `reason`, `stats`, `viewers` (their number, or `null`), `muted`, `volume` (0 to 1), `quality`,
 * `notice` (a message over the video), `video` (the video element), `player`. Methods: `play()`,
 * `pause()`, `stop()`, `toggleFullscreen()`, `togglePictureInPicture()`. Events: `statechange`, `missing`,
 * `stats`, `data` and `event`, as those of `Player`. Keys: `k` or space pause, `m` mute, arrows volume, `f` full
 * screen, `p` picture-in-picture, `i` stats. Style: the CSS properties `--player-accent`,
 * `--player-background`, `--player-radius`.
 *
 * **As a class**, for a page with its own video element and buttons:
 *
 * ```js
 * import { Player } from "https://gateway.example/assets/player.js";
 *
 * const player = new Player(document.querySelector("video"), "https://gateway.example/whep/live/test");
 * player.addEventListener("statechange", ({ detail: { state, text } }) => console.log(state, text));
 * player.start();
 * ```
 *
 * `playback.js` describes its options and events, `stats.js` the stats.
 */

export { DistributaryPlayer } from "./element.js";
export { Player } from "./playback.js";
