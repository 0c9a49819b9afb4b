#!/usr/bin/env python3
"""A peer that sends back every message of every data channel: channel_echo.py aiortc|libdatachannel offer|answer.

peer-bench, the other side, tells it what else to do. Both speak in lines `KIND<TAB>TEXT` over standard input and output,
line ends inside as byte 1, and each line of peer-bench's has one for an answer:

  offer, answer SDP   descriptions, complete with candidates
  open CHANNEL        makes a channel; once it is open, and has sent its label unless it is negotiated, `opened CHANNEL`,
                      or `opened null` if the stack cannot make such a one
  close IDS           closes its ends of these channels; `closing null`
  burst [CHANNEL, COUNT]
              makes a channel, sends so many messages and closes it; `opened` as above
  received LABEL
              `received NUMBERS`: those of the messages that came on a channel, -1 for what was never sent
  await COUNT         `channels CHANNELS`: those it has, as soon as they are so many and open, or have not been for long
  done                `done`, and the end

CHANNEL is JSON with the members of W3C's RTCDataChannel; what a stack does not tell is left out. The channel `first`,
with which the connection is made, counts nowhere. What comes on channels whose label begins with `burst` is not sent back:
message N of a burst is N, a space, and 97 N modulo 3000 times the letter x. harness/channel_echo.js is the same for browsers.
"""
import asyncio
import json
import os
import sys


def put(kind, text=""):
    sys.stdout.write(kind + "\t" + text.replace("\r", "").replace("\n", "\x01") + "\n")
    sys.stdout.flush()


async def get():
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    if not line:
        os._exit(3)
    kind, _, text = line.rstrip("\n").partition("\t")
    return kind, text.replace("\x01", "\r\n")


def burst_message(number):
    return f"{number} " + "x" * (number * 97 % 3000)


class Peer:
    """Does what the lines say, with the channels of one stack."""

    def __init__(self):
        self.channels, self.received = [], {}

    async def run(self, role):
        if role == "offer":
            await self.offer()
        while True:
            kind, text = await get()
            try:
                await self.obey(kind, text)
            except Exception as error:  # whatever the stack throws, the other side is to know
                put("error", repr(error))

    async def obey(self, kind, text):
        if kind in ("offer", "answer"):
            await self.take_description(kind, text)
        elif kind == "open":
            channel = await self.open(**json.loads(text))
            put("opened", json.dumps(channel and self.description(channel)))
        elif kind == "burst":
            members, count = json.loads(text)
            channel = await self.open(**members)
            for number in range(count if channel else 0):
                await self.send(channel, burst_message(number))
            put("opened", json.dumps(channel and self.description(channel)))
            if channel:
                channel.close()
        elif kind == "received":
            put("received", json.dumps(self.received.get(json.loads(text), [])))
        elif kind == "close":
            ids = json.loads(text)
            for channel in [channel for channel in self.channels if self.description(channel)["id"] in ids]:
                channel.close()
            put("closing", "null")
        elif kind == "await":
            end = asyncio.get_running_loop().time() + 10
            while not self.has_open(json.loads(text)) and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(0.005)
            put("channels", json.dumps([self.description(channel) for channel in self.channels]))
        elif kind == "done":
            put("done")
            os._exit(0)
        else:
            raise ValueError("no such command: " + kind)

    async def hear(self, channel, message):
        """Sends a message back, or remembers which of a burst's it is."""
        if not channel.label.startswith("burst"):
            return await self.send(channel, message)
        number = int(message.partition(" ")[0])
        self.received.setdefault(channel.label, []).append(number if message == burst_message(number) else -1)

    async def greet(self, channel, label):
        """What comes with the OPEN, before the other side can have answered it."""
        if not label.startswith("burst"):
            await self.send(channel, label)

    def has_open(self, count):
        return len(self.channels) == count and all(map(self.is_open, self.channels))

    def adopt(self, channel):
        if channel.label != "first":
            self.channels.append(channel)


class Name(str):
    """Text for aiortc, which announces the length of labels in characters where RFC 8832 has bytes."""

    def __len__(self):
        return len(self.encode())


class Aiortc(Peer):
    def __init__(self):
        super().__init__()
        import aioice.ice
        from aiortc import RTCConfiguration, RTCPeerConnection
        # aioice leaves out loopback addresses, and in a network namespace of one's own there are no others.
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("datachannel", self.adopt)

    async def offer(self):
        self.adopt(self.connection.createDataChannel("first"))
        await self.connection.setLocalDescription(await self.connection.createOffer())
        put("offer", self.connection.localDescription.sdp)

    async def take_description(self, kind, text):
        from aiortc import RTCSessionDescription
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=text, type=kind))
        if kind == "offer":
            await self.connection.setLocalDescription(await self.connection.createAnswer())
            put("answer", self.connection.localDescription.sdp)

    def adopt(self, channel):
        super().adopt(channel)
        channel.on("message", lambda message: self.hear(channel, message))
        channel.on("close", lambda: channel in self.channels and self.channels.remove(channel))

    async def open(self, label, protocol, priority, **members):
        channel = self.connection.createDataChannel(Name(label), protocol=Name(protocol), **members)
        self.adopt(channel)
        while channel.readyState == "connecting":
            await asyncio.sleep(0.001)
        if not channel.negotiated:
            await self.greet(channel, label)
        return channel

    async def send(self, channel, message):
        channel.send(message)

    def is_open(self, channel):
        return channel.readyState == "open"

    def description(self, channel):
        names = "label protocol ordered maxRetransmits maxPacketLifeTime negotiated id".split()
        return {name: getattr(channel, name) for name in names}


class LibDataChannel(Peer):
    def __init__(self):
        super().__init__()
        import aiolibdatachannel as library
        self.library, self.connection = library, library.PeerConnection()
        self.tasks = [asyncio.ensure_future(self.adopt_incoming())]

    async def adopt_incoming(self):
        async for channel in self.connection.incoming_data_channels():
            self.adopt(channel)

    def adopt(self, channel):
        super().adopt(channel)
        self.tasks.append(asyncio.ensure_future(self.echo(channel)))

    async def echo(self, channel):
        async for message in channel:
            await self.hear(channel, message)
        if channel in self.channels:
            self.channels.remove(channel)

    async def put_description(self, role):
        await self.connection.set_local_description(role)
        while self.connection.gathering_state != self.library.GatheringState.COMPLETE:
            await asyncio.sleep(0.005)
        put(role, self.connection.local_description.sdp)

    async def offer(self):
        self.tasks.append(await self.connection.create_data_channel("first"))
        await self.put_description("offer")

    async def take_description(self, kind, text):
        await self.connection.set_remote_description(text, kind)
        if kind == "offer":
            await self.put_description("answer")

    async def open(self, label, protocol, priority, ordered, maxRetransmits, maxPacketLifeTime, negotiated, id):
        if maxPacketLifeTime == 0:  # which means none in its C interface
            return None
        channel = await self.connection.create_data_channel(label, self.library.DataChannelOptions(
            ordered=ordered, max_retransmits=maxRetransmits, max_packet_lifetime_ms=maxPacketLifeTime,
            protocol=protocol, negotiated=negotiated, stream_id=id))
        self.adopt(channel)
        await channel.wait_open()
        if not negotiated:
            await self.greet(channel, label)
        return channel

    async def send(self, channel, message):
        await channel.send(message)

    def is_open(self, channel):
        return channel.is_open

    def description(self, channel):
        return {"label": channel.label, "protocol": channel.protocol, "id": channel.stream_id}


async def main(stack, role):
    await {"aiortc": Aiortc, "libdatachannel": LibDataChannel}[stack]().run(role)


asyncio.run(main(*sys.argv[1:]))
