/** Where streams are, as paths of this gateway. */

/** A stream's name as the path of a URL. */
export function pathOf(stream) {
  return stream.split("/").map(encodeURIComponent).join("/");
}

/** The WHEP endpoint of a stream. */
export function endpointOf(stream) {
  return `/whep/${pathOf(stream)}`;
}
