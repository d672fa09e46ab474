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
 * | `src` | URL of the WHEP endpoint; another one may be set at any time |
 * | `autoplay` | plays without being asked; otherwise a button, or `play()`, begins |
 * | `muted` | begins without sound, as browsers want it of what plays by itself |
 * | `token` | sent to the endpoint as a bearer token |
 * | `stats` | shows figures of the connection |
 * | `controls="none"` | shows no buttons |
 * | `label` | name of the stream, for those who listen to the page |
 * | `events` | listens to what the gateway says: how many watch, that the stream has ended, what is wrong with it |
 * | `data` | opens a data channel for what the publisher says (metadata, cue points) |
 *
 * Properties: `state`, `figures`, `viewers` (how many watch, or `null`), `muted`, `volume` (0 to 1), `notice` (a
 * remark over the picture), `video` (the video element), `player`. Methods: `play()`, `stop()`,
 * `toggleFullscreen()`, `togglePictureInPicture()`. Events: `statechange`, `figures`, `data` and `event`, as those
 * of `Player`. Keys: `m` sound, arrows volume, `f` full screen, `p` picture in picture, `i` figures. Looks: the
 * CSS properties `--player-accent`, `--player-background`, `--player-radius`.
 *
 * **As a class**, for a page with a video element and buttons of its own:
 *
 * ```js
 * import { Player } from "https://gateway.example/assets/player.js";
 *
 * const player = new Player(document.querySelector("video"), "https://gateway.example/whep/live/test");
 * player.addEventListener("statechange", ({ detail: { state, text } }) => console.log(state, text));
 * player.start();
 * ```
 *
 * Its options and events are described in `playback.js`, the figures in `figures.js`.
 */

export { DistributaryPlayer } from "./element.js";
export { Player } from "./playback.js";
