/** Thumbnails of streams: keyframes that the browser decodes (WebCodecs). The gateway decodes nothing. */

/**
 * Draws the keyframe in a response on a canvas, no wider than `maxWidth` pixels, if `isWanted` returns
 * true when it is decoded. Returns whether it did: browsers have WebCodecs on secure pages only (HTTPS,
 * or localhost), and not for every codec.
 */
export async function draw(response, canvas, maxWidth, isWanted = () => true) {
  const [, codec] = /codecs="([^"]+)"/.exec(response.headers.get("Content-Type") ?? "") ?? [];
  try {
    if (!response.ok || !codec || !canDraw() || !(await isSupported(codec))) {
      // The connection is occupied until the body is read or canceled.
      await response.body?.cancel();
      return false;
    }
    const frame = await decode(codec, await response.arrayBuffer());
    if (!frame) return false;
    if (!isWanted()) {
      frame.close();
      return false;
    }
    const scale = Math.min(1, maxWidth / frame.displayWidth);
    canvas.width = Math.round(frame.displayWidth * scale);
    canvas.height = Math.round(frame.displayHeight * scale);
    canvas.getContext("2d").drawImage(frame, 0, 0, canvas.width, canvas.height);
    frame.close();
    return true;
  } catch {
    // The decoder refuses the stream.
    return false;
  }
}

/** Returns whether the browser has WebCodecs. */
export function canDraw() {
  return "VideoDecoder" in globalThis;
}

async function isSupported(codec) {
  return (await VideoDecoder.isConfigSupported({ codec })).supported;
}

async function decode(codec, data) {
  let decoded = null;
  const decoder = new VideoDecoder({
    output: (frame) => {
      decoded?.close();
      decoded = frame;
    },
    // `flush` rejects with it.
    error: () => {},
  });
  decoder.configure({ codec });
  decoder.decode(new EncodedVideoChunk({ type: "key", timestamp: 0, data }));
  await decoder.flush();
  decoder.close();
  return decoded;
}
