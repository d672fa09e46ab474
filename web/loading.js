/**
 * Keeps media without frames from delaying the load event of the page. While a video has media and no
 * frame, browsers show the page as loading: forever, if the stream has no video that they can play.
 */

/** Returns the track whose packets make a video show something; `undefined` without tracks. */
function decisive(media) {
  return media.getVideoTracks()[0] ?? media.getAudioTracks()[0];
}

/** Returns whether a video may have `media` now: packets arrive, or the page is loaded. */
function isDue(media) {
  // A track of a connection is muted until its first packet arrives.
  return document.readyState === "complete" || decisive(media)?.muted === false;
}

/** Waits until packets of `media` arrive or the page is loaded. */
export async function mediaOrLoad(media) {
  if (isDue(media)) return;
  await new Promise((done) => {
    addEventListener("load", done, { once: true });
    decisive(media)?.addEventListener("unmute", done, { once: true });
  });
}

/** Takes the media of a video without a frame from it until packets arrive or the page is loaded. */
export async function yieldToLoad(video) {
  const { srcObject: media, readyState, HAVE_CURRENT_DATA } = video;
  if (!media || readyState >= HAVE_CURRENT_DATA || isDue(media)) return;
  video.srcObject = null;
  await mediaOrLoad(media);
  // The session may have ended meanwhile, or the video may play another.
  if (video.srcObject === null && media.active) video.srcObject = media;
}
