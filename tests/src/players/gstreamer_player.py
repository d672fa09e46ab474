"""Watches a stream by WHEP with GStreamer's webrtcbin, and prints what came of it as a line of JSON.

    gstreamer_player.py URL VIDEO AUDIO LIMIT H264|H265

It ends with so many frames and a message of each kind, or after so many seconds.
"""

import json
import sys
import time
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

VIDEO = {
    "H264": (
        "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96,"
        "packetization-mode=(string)1,profile-level-id=(string)42e01f"
    ),
    "H265": "application/x-rtp,media=video,encoding-name=H265,clock-rate=90000,payload=96",
}
OPUS = "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload=97"
DECODERS = {
    "video": (
        "rtp{0}depay ! {0}parse ! avdec_{0} ! videoconvert ! video/x-raw,format=GRAY8 ! "
        "fakesink name=sink sync=false signal-handoffs=true"
    ),
    "audio": "rtpopusdepay ! opusdec ! fakesink name=sink sync=false signal-handoffs=true",
}


BITS = 16


def number_of(buffer, width, height):
    """The frame number in a frame: 16 columns in the upper quarter, least significant bit first."""
    line = buffer.extract_dup(height // 16 * width, width)
    column = width // BITS
    return sum((line[column * bit + column // 2] > 127) << bit for bit in range(BITS))


class Player:
    def __init__(self, url, video, audio, limit, codec):
        self.url, self.codec = url, codec
        self.enough = {"video": video, "audio": audio}
        self.until = time.monotonic() + limit
        self.result = {"video": 0, "audio": 0, "width": 0, "numbers": [], "texts": []}
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline.new()
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.webrtc)
        for caps in (OPUS, VIDEO[codec]):
            direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            self.webrtc.emit("add-transceiver", direction, Gst.Caps.from_string(caps))
        self.webrtc.connect("pad-added", self.decode)
        self.webrtc.connect("notify::ice-gathering-state", self.offer_when_complete)

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        channel = self.webrtc.emit("create-data-channel", "events", None)
        channel.connect("on-open", lambda c: c.emit("send-string", '{"type":"ping","id":"gst"}'))
        channel.connect("on-message-string", lambda _, text: self.result["texts"].append(text))
        promise = Gst.Promise.new_with_change_func(self.describe)
        self.webrtc.emit("create-offer", None, promise)
        GLib.timeout_add(100, self.end_with_enough)
        self.loop.run()

    def describe(self, promise):
        promise.wait()
        # The reply owns the offer: it has to live as long.
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        done = Gst.Promise.new()
        self.webrtc.emit("set-local-description", offer, done)
        done.interrupt()

    def offer_when_complete(self, webrtc, _):
        state = webrtc.get_property("ice-gathering-state")
        if state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.exchange)

    def exchange(self):
        offer = self.webrtc.get_property("local-description").sdp.as_text()
        headers = {"Content-Type": "application/sdp"}
        request = urllib.request.Request(self.url, offer.encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=20) as response:
            answer = response.read().decode()
        _, sdp = GstSdp.SDPMessage.new_from_text(answer)
        kind = GstWebRTC.WebRTCSDPType.ANSWER
        description = GstWebRTC.WebRTCSessionDescription.new(kind, sdp)
        self.webrtc.emit("set-remote-description", description, None)
        return GLib.SOURCE_REMOVE

    def decode(self, _, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        media = pad.get_current_caps().get_structure(0).get_string("media")
        description = DECODERS[media].format(self.codec.lower())
        decoder = Gst.parse_bin_from_description(description, True)
        decoder.get_by_name("sink").connect("handoff", self.count, media)
        self.pipeline.add(decoder)
        decoder.sync_state_with_parent()
        pad.link(decoder.get_static_pad("sink"))

    def count(self, _, buffer, pad, media):
        self.result[media] += 1
        if media == "video":
            caps = pad.get_current_caps().get_structure(0)
            width, height = caps.get_value("width"), caps.get_value("height")
            self.result["width"] = width
            self.result["numbers"].append(number_of(buffer, width, height))

    def has_enough(self):
        texts = self.result["texts"]
        heard = all(any(kind in text for text in texts) for kind in ("pong", "metadata"))
        return heard and all(self.result[kind] >= count for kind, count in self.enough.items())

    def end_with_enough(self):
        if time.monotonic() < self.until and not self.has_enough():
            return GLib.SOURCE_CONTINUE
        state = self.webrtc.get_property("connection-state")
        self.result["state"] = state.value_nick
        print(json.dumps(self.result), flush=True)
        self.pipeline.set_state(Gst.State.NULL)
        self.loop.quit()
        return GLib.SOURCE_REMOVE


Gst.init(None)
Player(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]).run()
