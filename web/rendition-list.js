/** The renditions of a stream on the dashboard. */

import { make, setText } from "./elements.js";
import { count, rate } from "./words.js";

/** Words for the origin of a rendition. */
const ORIGINS = {
  source: "as published",
  track: "a track of the publisher",
  joined: "published as another stream",
};

/** A list of the renditions of one stream; hidden if there is only the stream as published. */
export class RenditionList {
  /** The element to put into the page. */
  element = make("ul", { className: "plain" });

  /** Shows the renditions. Returns whether there is more than one. */
  show(renditions) {
    while (this.element.children.length > renditions.length) this.element.lastElementChild.remove();
    for (const [at, rendition] of renditions.entries()) {
      const item = this.element.children[at] ?? this.element.appendChild(make("li"));
      setText(item, lineOf(rendition));
      item.classList.toggle("muted", !rendition.live);
    }
    return renditions.length > 1;
  }
}

function lineOf(rendition) {
  const { id, origin, width, height, bitrate_bps, max_bitrate_bps, viewers, live } = rendition;
  const words = [id];
  if (height > 0) words.push(`${width}×${height}`);
  if (live) words.push(rate(bitrate_bps));
  else words.push(`up to ${rate(max_bitrate_bps ?? bitrate_bps)}`);
  words.push(ORIGINS[origin] ?? (live ? "made by the gateway" : "made when a viewer needs it"));
  if (rendition.aligned_by === "keyframes") {
    words.push(`keyframes agree (${rendition.alignment_offset_ms} ms apart)`);
  } else if (rendition.aligned_by === "arrival") {
    words.push("aligned by arrival: other keyframes");
  }
  if (live) words.push(count(viewers, "viewer"));
  return words.join(" · ");
}
