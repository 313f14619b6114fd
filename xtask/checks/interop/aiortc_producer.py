"""A producer on aiortc: announces itself, answers one consumer after the other, sends every datagram back."""

import asyncio
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

from aiortc import RTCConfiguration, RTCIceCandidate, RTCIceServer, RTCPeerConnection, RTCSessionDescription

SIGNAL, STUN = sys.argv[1], sys.argv[2].split(",")
GENESIS = json.dumps({"PathAssertion": {"Allow": [{"Host": "*", "Distance": 1}], "Deny": None}})


async def exchange(send_to, kind, data):
    """One message, and the reply to it; None if there is none."""
    form = urllib.parse.urlencode({"data": data, "send-to": send_to, "type": kind}).encode()
    request = urllib.request.Request(SIGNAL, form, {"X-BF-Version": "v2.3.1"})
    try:
        body = await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=30).read())
    except urllib.error.HTTPError:
        return None
    return json.loads(body) if body else None


async def serve():
    offer = await exchange("genesis", 0, GENESIS)
    if offer is None:
        return
    description = json.loads(offer["Payload"])["SDP"]
    connection = RTCPeerConnection(RTCConfiguration([RTCIceServer(STUN)]))
    ended = asyncio.Event()

    @connection.on("datachannel")
    def on_channel(channel):
        @channel.on("message")
        def on_message(message):
            channel.send(message)

        channel.on("close", ended.set)

    @connection.on("connectionstatechange")
    def on_state():
        if connection.connectionState in ("closed", "failed"):
            ended.set()

    await connection.setRemoteDescription(RTCSessionDescription(description["sdp"], description["type"]))
    await connection.setLocalDescription(await connection.createAnswer())
    answer = connection.localDescription
    ice = await exchange(offer["ReplyTo"], 2, json.dumps({"type": answer.type, "sdp": answer.sdp}))
    if ice is not None:
        for c in json.loads(ice["Payload"])["Candidates"]:
            await connection.addIceCandidate(
                RTCIceCandidate(
                    c["component"], c["foundation"], c["address"], c["port"], c["priority"], "udp", c["type"],
                    sdpMid="0", sdpMLineIndex=0,
                )
            )
        await connection.addIceCandidate(None)
        await ended.wait()
    await connection.close()


async def main():
    while True:
        await serve()


asyncio.run(main())
