// Watches a stream by WHEP with libdatachannel, and prints what came of it as a line of JSON.
//
//     node libdatachannel_player.js URL VIDEO AUDIO LIMIT
//
// It ends with so many frames and a message of each kind, or after so many seconds.
// It does not decode: a frame is counted when its last packet arrives, which has the marker bit.

const datachannel = require('node-datachannel');

const [url, ...numbers] = process.argv.slice(-4);
const [enoughVideo, enoughAudio, limit] = numbers.map(Number);
const result = { video: 0, audio: 0, width: 0, texts: [], state: 'new' };
// Unreferenced objects are garbage-collected and closed.
const kept = [];

function hasEnough() {
  const isHeard = (kind) => result.texts.some((text) => text.includes(kind));
  return isHeard('pong') && isHeard('metadata') && result.video >= enoughVideo && result.audio >= enoughAudio;
}

// Receives one medium, and counts with `count`.
function receive(peer, medium, count) {
  const track = peer.addTrack(medium);
  const session = new datachannel.RtcpReceivingSession();
  track.setMediaHandler(session);
  track.onMessage(count);
  kept.push(track, session);
}

async function watch() {
  const peer = new datachannel.PeerConnection('viewer', { iceServers: [], disableAutoNegotiation: true });
  peer.onStateChange((state) => { result.state = state; });

  const video = new datachannel.Video('video', 'RecvOnly');
  video.addH264Codec(96);
  receive(peer, video, (packet) => { result.video += packet[1] >> 7; });
  const audio = new datachannel.Audio('audio', 'RecvOnly');
  audio.addOpusCodec(97);
  receive(peer, audio, () => { result.audio += 1; });

  const channel = peer.createDataChannel('events');
  channel.onOpen(() => channel.sendMessage('{"type":"ping","id":"libdatachannel"}'));
  channel.onMessage((text) => result.texts.push(text));

  const gathered = new Promise((resolve) => {
    peer.onGatheringStateChange((state) => { if (state === 'complete') resolve(); });
  });
  peer.setLocalDescription('offer');
  await gathered;
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/sdp' },
    body: peer.localDescription().sdp,
  });
  if (response.status !== 201) throw new Error(`${response.status}: ${await response.text()}`);
  peer.setRemoteDescription(await response.text(), 'answer');

  const end = Date.now() + 1000 * limit;
  while (Date.now() < end && !hasEnough()) {
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  console.log(JSON.stringify(result));
  peer.close();
  datachannel.cleanup();
}

watch().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
