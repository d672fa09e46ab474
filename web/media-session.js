/** Shows what plays on lock screens and to media keys (Media Session specification). */

/** The player that is announced, or `null`. */
let announced = null;

/** Announces a player that plays, with keys for playing and pausing. The last one counts. */
export function announce(player, label) {
  const { mediaSession } = navigator;
  if (!mediaSession) return;
  announced = player;
  mediaSession.metadata = new MediaMetadata({ title: label || "Live video", artist: location.host });
  mediaSession.setActionHandler("play", () => player.play());
  mediaSession.setActionHandler("pause", () => player.pause());
  mediaSession.setActionHandler("stop", () => player.stop());
}

/** Ends the announcement of a player that has stopped, if it is the one that is announced. */
export function withdraw(player) {
  if (announced !== player) return;
  announced = null;
  const { mediaSession } = navigator;
  mediaSession.metadata = null;
  mediaSession.playbackState = "none";
  for (const action of ["play", "pause", "stop"]) mediaSession.setActionHandler(action, null);
}

/** Shows whether the video plays. */
export function showPlayback(isPlaying) {
  if (navigator.mediaSession) navigator.mediaSession.playbackState = isPlaying ? "playing" : "paused";
}
