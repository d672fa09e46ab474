// Answers the offer in the page at once, and shows the video. The player adopts both, the connection
// and the video, when it has arrived.
(() => {
  const { dataset, textContent } = document.querySelector("#offer");
  // The parser of HTML has shortened the line ends.
  const offer = { type: "offer", sdp: textContent.replaceAll("\n", "\r\n") };
  const CAPTURE_TIME = /^a=extmap:\d+ \S+abs-capture-time\r\n/m;

  // Adds to the answer stereo and the capture time of each frame, which browsers omit, and chooses
  // the DTLS role that the gateway would choose.
  const wishes = (answer) => {
    const [extension] = CAPTURE_TIME.exec(offer.sdp) ?? [""];
    const sdp = answer.replaceAll(/^a=setup:.*$/gm, `a=setup:${dataset.setup}`);
    const stereo = sdp.replaceAll(/^a=fmtp:.*useinbandfec=1(?!.*stereo=1).*$/gm, "$&;stereo=1");
    return CAPTURE_TIME.test(stereo) ? stereo : stereo.replaceAll(/^a=mid:.*\r\n/gm, `$&${extension}`);
  };

  const describe = async (connection) => {
    await connection.setRemoteDescription(offer);
    const answer = await connection.createAnswer();
    // Without a decoder for the stream, the gateway may send another form to the player's own offer.
    if (/^m=\S+ 0 /m.test(answer.sdp)) throw new Error("the browser cannot play the stream");
    const wanted = { type: "answer", sdp: wishes(answer.sdp) };
    await connection.setLocalDescription(wanted).catch(() => connection.setLocalDescription(answer));
    return connection.localDescription.sdp;
  };

  const send = (body) => {
    const headers = { "Content-Type": "application/sdp" };
    return fetch(dataset.session, { method: "PATCH", headers, body });
  };

  // Shows the media in the place of the player. The video is hidden from screen readers until the
  // player has named it.
  const show = (media) => {
    const video = document.createElement("video");
    Object.assign(video, { slot: "video", muted: true, autoplay: true, playsInline: true });
    video.ariaHidden = "true";
    video.srcObject = media;
    document.querySelector("distributary-player").append(video);
    document.body.classList.toggle("embed", new URLSearchParams(location.search).has("embed"));
    return video;
  };

  const begin = async () => {
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    const media = new MediaStream();
    const video = show(media);
    const shown = { at: null };
    video.requestVideoFrameCallback?.((now) => {
      shown.at = now;
    });
    connection.ontrack = ({ track }) => media.addTrack(track);
    const described = describe(connection);
    const answered = described.then(send);
    // The player handles a failure when it takes over the session.
    answered.catch(() => {});
    globalThis.preparedSession = { ...dataset, connection, media, video, shown, answered };
    await described;
  };

  // The files of the page come after the answer, which else would wait for a connection of its own.
  const load = () => document.head.append(document.querySelector("#files").content);
  begin().then(load, load);
})();
