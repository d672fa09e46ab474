/** Shows what plays on lock screens and to media keys (Media Session specification). */

/** Announces a player that plays, with keys for playing and pausing. The last one counts. */
export function announce(player, label) {
  const { mediaSession } = navigator;
  if (!mediaSession) return;
  mediaSession.metadata = new MediaMetadata({ title: label || "Live video", artist: location.host });
  mediaSession.setActionHandler("play", () => player.play());
  mediaSession.setActionHandler("pause", () => player.pause());
  mediaSession.setActionHandler("stop", () => player.stop());
}

/** Shows whether the video plays. */
export function showPlayback(isPlaying) {
  if (navigator.mediaSession) navigator.mediaSession.playbackState = isPlaying ? "playing" : "paused";
}
