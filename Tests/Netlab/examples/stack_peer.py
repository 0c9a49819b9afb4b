#!/usr/bin/env python3
"""libwebrtc (PyPI wrtc) or libdatachannel (PyPI aiolibdatachannel) as one end of a pair.py.

  stack_peer.py libwebrtc|libdatachannel offer|answer ROOM ICE-SERVERS SECS PINGS

Descriptions are complete with candidates. `connect_s` runs from the answer's arrival to the open channel, as with the others.
"""
import asyncio
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rendezvous_client import http      # noqa: E402


async def signal(method, room, name, data=None):
    return await asyncio.get_running_loop().run_in_executor(None, http, method, room, name, data)


class LibWebRTC:
    def __init__(self, servers):
        import webrtc
        self.library = webrtc
        servers = [webrtc.RTCIceServer(s["urls"], s.get("username"), s.get("credential")) for s in servers]
        self.connection = webrtc.RTCPeerConnection(webrtc.RTCConfiguration(ice_servers=servers))
        self.opened = asyncio.Event()

    async def offer(self):
        self.channel = self.connection.create_data_channel("test", self.library.RTCDataChannelInit())
        self.channel.on("open", lambda _: self.opened.set())
        return await self.describe(await self.connection.create_offer())

    async def answer(self, sdp):
        self.connection.on("datachannel", lambda event: setattr(self, "channel", event))
        await self.take("offer", sdp)
        return await self.describe(await self.connection.create_answer())

    async def describe(self, description):
        await self.connection.set_local_description(description)
        while self.connection.ice_gathering_state != "complete":
            await asyncio.sleep(0.002)
        return self.connection.local_description.sdp

    async def take(self, kind, sdp):
        init = self.library.RTCSessionDescriptionInit(kind, sdp)
        await self.connection.set_remote_description(self.library.RTCSessionDescription(init))

    async def wait(self):
        await self.opened.wait()

    @property
    def is_connected(self):
        return self.connection.connection_state == "connected"


class LibDataChannel:
    def __init__(self, servers):
        import aiolibdatachannel
        self.library = aiolibdatachannel
        servers = [aiolibdatachannel.IceServer(url=s["urls"], username=s.get("username"),
                                               credential=s.get("credential")) for s in servers]
        configuration = aiolibdatachannel.RTCConfiguration(ice_servers=servers)
        self.connection = aiolibdatachannel.PeerConnection(configuration)

    async def offer(self):
        self.channel = await self.connection.create_data_channel("test")
        return await self.describe("offer")

    async def answer(self, sdp):
        await self.take("offer", sdp)
        return await self.describe("answer")

    async def describe(self, kind):
        await self.connection.set_local_description(kind)
        while self.connection.gathering_state != self.library.GatheringState.COMPLETE:
            await asyncio.sleep(0.002)
        return self.connection.local_description.sdp

    async def take(self, kind, sdp):
        await self.connection.set_remote_description(sdp, kind)

    async def wait(self):
        await self.channel.wait_open()

    @property
    def is_connected(self):
        return self.connection.state == self.library.RTCState.CONNECTED


async def main(stack, role, room, servers, secs, pings):
    peer = {"libwebrtc": LibWebRTC, "libdatachannel": LibDataChannel}[stack](json.loads(servers))
    out = {"connected": False}
    if role == "offer":
        sdp = await peer.offer()
        await signal("POST", room, "offer", json.dumps({"type": "offer", "sdp": sdp}))
        answer = json.loads(await signal("GET", room, "answer"))
        begin = time.monotonic()
        await peer.take("answer", answer["sdp"])
        try:
            await asyncio.wait_for(peer.wait(), float(secs))
            out.update(connected=True, connect_s=round(time.monotonic() - begin, 3))
        except asyncio.TimeoutError:
            pass
        await signal("POST", room, "result-offer", json.dumps(out))
    else:
        offer = json.loads(await signal("GET", room, "offer"))
        sdp = await peer.answer(offer["sdp"])
        await signal("POST", room, "answer", json.dumps({"type": "answer", "sdp": sdp}))
        end = time.monotonic() + float(secs)
        while not peer.is_connected and time.monotonic() < end:
            await asyncio.sleep(0.01)
        out["connected"] = peer.is_connected
        await signal("POST", room, "result-answer", json.dumps(out))
        # The other side may still be measuring.
        await asyncio.sleep(5)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:7]))
