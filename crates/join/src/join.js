// Runs before the scripts of every page. Notes when a player reaches each step of a join, and when
// it shows each frame: milliseconds since 1970.
(() => {
  'use strict';
  const now = () => performance.timeOrigin + performance.now();
  // How often to look whether the first frame is there.
  const POLL_MS = 50;
  // After the first frame, the instant start has ended by then.
  const SETTLED_SECONDS = 3;
  let notes = { frames: [] };
  let connection = null;
  const note = (step) => { notes[step] ??= now(); };

  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class RTCPeerConnection extends Native {
    constructor(...parameters) {
      super(...parameters);
      connection = this;
      this.addEventListener('iceconnectionstatechange', () => {
        if (['connected', 'completed'].includes(this.iceConnectionState)) note('ice');
      });
      this.addEventListener('connectionstatechange', () => {
        if (this.connectionState === 'connected') note('dtls');
      });
    }

    setRemoteDescription(description) {
      note('answer');
      return super.setRemoteDescription(description);
    }
  };

  // Notes the frames of every video that gets a source.
  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject');
  const followed = new WeakSet();
  Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', {
    ...source,
    set(stream) {
      source.set.call(this, stream);
      if (!(this instanceof HTMLVideoElement) || followed.has(this)) return;
      followed.add(this);
      const next = (_, { rtpTimestamp, captureTime, height }) => {
        const captured = captureTime && performance.timeOrigin + captureTime;
        notes.frames.push([now(), rtpTimestamp, captured ?? null, height]);
        this.requestVideoFrameCallback(next);
      };
      this.requestVideoFrameCallback(next);
    },
  });

  const sleep = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });

  // Returns the notes `seconds` after the first frame, or after `timeout` seconds without one.
  async function result(seconds, timeout) {
    const end = notes.begin + 1000 * timeout;
    while (notes.frames.length === 0 && now() < end) await sleep(POLL_MS);
    if (notes.frames.length === 0) return { ...notes, stats: {} };
    const settled = Math.min(SETTLED_SECONDS, seconds);
    await sleep(1000 * settled);
    const early = await counters();
    await sleep(1000 * (seconds - settled));
    return { ...notes, early, stats: await counters() };
  }

  // Returns what the browser has counted so far.
  async function counters() {
    const stats = [...(await connection.getStats()).values()];
    const received = stats.filter(({ type }) => type === 'inbound-rtp');
    const sum = (name) => received.reduce((all, one) => all + (one[name] ?? 0), 0);
    return {
      at: now(),
      received: sum('packetsReceived'),
      lost: sum('packetsLost'),
      nacks: sum('nackCount'),
      retransmitted: sum('retransmittedPacketsReceived'),
      bytes: sum('bytesReceived'),
      retransmitted_bytes: sum('retransmittedBytesReceived'),
      freezes: sum('freezeCount'),
      frozen: 1000 * sum('totalFreezesDuration'),
      decoded: sum('framesDecoded'),
    };
  }

  // Returns an offer without transport-wide feedback.
  const withoutFeedback = (sdp) =>
    sdp.replaceAll(/^a=(rtcp-fb:\d+ transport-cc|extmap:.*transport-wide-cc.*)\r\n/gm, '');

  // Joins at the WHEP endpoint `whep` over an open connection, and returns the notes.
  async function join(whep, seconds, timeout, hasFeedback) {
    await fetch('/healthz');
    const video = document.createElement('video');
    Object.assign(video, { muted: true, autoplay: true, srcObject: new MediaStream() });
    document.body.append(video);
    const pc = new RTCPeerConnection();
    pc.ontrack = ({ track }) => video.srcObject.addTrack(track);
    for (const kind of ['video', 'audio']) pc.addTransceiver(kind, { direction: 'recvonly' });
    await pc.setLocalDescription(await pc.createOffer());
    notes = { frames: [], begin: now() };
    const offer = pc.localDescription.sdp;
    const response = await fetch(whep, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp' },
      body: hasFeedback ? offer : withoutFeedback(offer),
    });
    const sdp = await response.text();
    if (response.status !== 201) throw new Error(`${response.status} ${sdp}`);
    await pc.setRemoteDescription({ type: 'answer', sdp });
    const outcome = await result(seconds, timeout);
    await fetch(response.headers.get('Location'), { method: 'DELETE' });
    pc.close();
    video.remove();
    return outcome;
  }

  // Returns the notes on the player page that is open: it began when the page had arrived.
  async function page(seconds, timeout) {
    const [{ responseEnd }] = performance.getEntriesByType('navigation');
    notes.begin = performance.timeOrigin + responseEnd;
    return result(seconds, timeout);
  }

  window.lab = { join, page };
})();
