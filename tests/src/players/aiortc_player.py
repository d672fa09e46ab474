"""Watches a stream by WHEP with aiortc, and prints what came of it as a line of JSON.

    aiortc_player.py URL VIDEO AUDIO LIMIT

It ends with so many frames and a message of each kind, or after so many seconds.
"""

import asyncio
import json
import sys
import time
import urllib.request

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


def post(url, offer):
    headers = {"Content-Type": "application/sdp"}
    request = urllib.request.Request(url, offer.encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.read().decode(), response.headers["Location"]


async def watch(url, video, audio, limit):
    result = {"video": 0, "audio": 0, "width": 0, "keyframes": 0, "texts": [], "first_ms": None}
    pc = RTCPeerConnection()
    begun = time.monotonic()

    async def count(track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            result[track.kind] += 1
            if track.kind == "video":
                result["width"] = frame.width
                result["keyframes"] += bool(frame.key_frame)
                if result["first_ms"] is None:
                    result["first_ms"] = round(1000 * (time.monotonic() - begun))

    tasks = []
    pc.on("track", lambda track: tasks.append(asyncio.ensure_future(count(track))))
    pc.addTransceiver("video", direction="recvonly")
    pc.addTransceiver("audio", direction="recvonly")
    channel = pc.createDataChannel("events")
    channel.on("open", lambda: channel.send('{"type":"ping","id":"aiortc"}'))
    channel.on("message", result["texts"].append)
    await pc.setLocalDescription(await pc.createOffer())
    loop = asyncio.get_running_loop()
    answer, _ = await loop.run_in_executor(None, post, url, pc.localDescription.sdp)
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    def has_enough():
        heard = all(any(kind in text for text in result["texts"]) for kind in ("pong", "metadata"))
        return heard and result["video"] >= video and result["audio"] >= audio

    while time.monotonic() - begun < limit and not has_enough():
        await asyncio.sleep(0.1)
    result["state"] = pc.connectionState
    print(json.dumps(result), flush=True)
    await pc.close()


asyncio.run(watch(sys.argv[1], *map(int, sys.argv[2:5])))
