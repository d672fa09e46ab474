// Runs before the scripts of every page, and reads the frame numbers of its videos.
//
// The upper quarter of a frame of the test clip has its number: 16 columns, the least significant
// bit on the left, in a row and inverted below. A frame with a column that does not have one bright
// and one dark block is not of the clip, or damaged.
(() => {
  'use strict';
  const BITS = 16;
  const peers = [];
  const counters = new WeakMap();
  const shown = new WeakMap();
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class RTCPeerConnection extends Native {
    constructor(...parameters) {
      super(...parameters);
      peers.push(this);
    }
  };

  // URLs of the sessions: from the Location of the responses to the page's offers, and those whose
  // offers the page has answered.
  const locations = [];
  const nativeFetch = window.fetch;
  window.fetch = async (...parameters) => {
    const response = await nativeFetch(...parameters);
    const isAnswer = response.headers.get('Content-Type') === 'application/sdp';
    const location = response.status === 201 && isAnswer && response.headers.get('Location');
    if (location) locations.push(location);
    const [url, { method } = {}] = parameters;
    if (response.status === 204 && method === 'PATCH') {
      locations.push(new URL(url, document.baseURI).pathname);
    }
    return response;
  };

  // Returns the number of the shown frame; `null` if it cannot be read.
  function readCounter({ data }) {
    let counter = 0;
    for (let bit = 0; bit < BITS; bit += 1) {
      const plain = data[4 * bit + 1] > 127;
      const inverted = data[4 * (BITS + bit) + 1] > 127;
      if (plain === inverted) return null;
      if (plain) counter |= 1 << bit;
    }
    return counter;
  }

  function follow(video) {
    if (counters.has(video)) return;
    const seen = [];
    counters.set(video, seen);
    const times = [];
    shown.set(video, times);
    const canvas = document.createElement('canvas');
    canvas.width = BITS;
    canvas.height = 2;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    const next = (_, { rtpTimestamp = null, height: shownHeight }) => {
      const { videoWidth: width, videoHeight: height } = video;
      context.clearRect(0, 0, BITS, 2);
      context.drawImage(video, 0, 0, width, height / 4, 0, 0, BITS, 2);
      const image = context.getImageData(0, 0, BITS, 2);
      // Chromium announces the first frames before it can draw them, and draws nothing or black.
      const isBlack = image.data.every((value, at) => at % 4 === 3 || value < 8);
      if (seen.length > 0 || !isBlack) {
        seen.push(readCounter(image));
        times.push([rtpTimestamp, shownHeight]);
      }
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }

  // Returns the trees of the page: its own, and those inside elements.
  const roots = [document];
  function watch(root) {
    const look = () => root.querySelectorAll('video').forEach(follow);
    new MutationObserver(look).observe(root, { childList: true, subtree: true });
  }
  watch(document);
  const nativeAttach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function attachShadow(options) {
    const root = nativeAttach.call(this, options);
    roots.push(root);
    watch(root);
    return root;
  };

  // Returns the element that `selector` names, in any tree.
  function find(selector) {
    for (const root of roots) {
      const element = root.isConnected && root.querySelector(selector);
      if (element) return element;
    }
    return null;
  }

  function peerOf(video) {
    const tracks = video.srcObject ? video.srcObject.getTracks() : [];
    return peers.findLast((pc) => pc.getReceivers().some(({ track }) => tracks.includes(track)));
  }

  // Returns the state of the video that `selector` names, or null.
  async function report(selector) {
    const video = find(selector);
    if (!video) return null;
    const pc = peerOf(video);
    const inbound = {};
    if (pc) {
      for (const stats of (await pc.getStats()).values()) {
        if (stats.type === 'inbound-rtp') inbound[stats.kind] = stats;
      }
    }
    return {
      connectionState: pc ? pc.connectionState : 'none',
      iceConnectionState: pc ? pc.iceConnectionState : 'none',
      dtlsState: pc?.getReceivers()[0]?.transport?.state ?? 'none',
      width: video.videoWidth,
      height: video.videoHeight,
      muted: video.muted,
      paused: video.paused,
      counters: counters.get(video) ?? [],
      video: inbound.video ?? null,
      audio: inbound.audio ?? null,
      peers: peers.length,
    };
  }

  // Returns the number, RTP time and height of each frame that the video has shown.
  function frames(selector) {
    const video = find(selector);
    const times = shown.get(video) ?? [];
    return (counters.get(video) ?? []).map((counter, at) => [counter, ...times[at]]);
  }

  // Returns the STUN and TURN servers of the newest connection.
  const iceServers = () => peers.at(-1)?.getConfiguration().iceServers ?? [];

  window.probe = { report, frames, find, sessions: () => locations, iceServers };
})();
