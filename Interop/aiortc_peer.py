#!/usr/bin/env python3
"""A peer made of aiortc that joins a room of rtc-peer's signalling server (docs/SIGNALING.md) and reports.

Joining last, it offers to whoever is there; joining first, it answers. It sends the test pattern and a 440 Hz tone,
echoes chat lines, and looks for the same pattern and tone in what it gets. It ends after --seconds or when the other
side hangs up, and prints one JSON object: what it saw.
"""
import argparse
import asyncio
import fractions
import json
import math
import sys
import time
from urllib.parse import urlsplit

import aiohttp
import aioice.ice
import numpy
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame, VideoFrame

WIDTH, HEIGHT, FRAMES_PER_SECOND, TONE = 640, 360, 30, 440
# Red, green, blue, yellow as limited-range BT.601 Y, U, V.
BARS = [(82, 90, 240), (145, 54, 34), (41, 240, 110), (210, 16, 146)]
COUNTER_BITS = 16
WEBSOCKET_PATH = "/ws"



def pattern(number):
    """Four colour bars over the frame's number in black and white blocks."""
    luma = numpy.empty((HEIGHT, WIDTH), numpy.uint8)
    chroma = numpy.full((2, HEIGHT // 2, WIDTH // 2), 128, numpy.uint8)
    bars_end = HEIGHT * 3 // 4
    for index, (y, u, v) in enumerate(BARS):
        left, right = index * WIDTH // 4, (index + 1) * WIDTH // 4
        luma[:bars_end, left:right] = y
        chroma[0, :bars_end // 2, left // 2:right // 2] = u
        chroma[1, :bars_end // 2, left // 2:right // 2] = v
    for bit in range(COUNTER_BITS):
        left, right = bit * WIDTH // COUNTER_BITS, (bit + 1) * WIDTH // COUNTER_BITS
        luma[bars_end:, left:right] = 235 if number >> (COUNTER_BITS - 1 - bit) & 1 else 16
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for plane, data in zip(frame.planes, (luma, *chroma)):
        padded = numpy.zeros((data.shape[0], plane.line_size), numpy.uint8)
        padded[:, :data.shape[1]] = data
        plane.update(padded.tobytes())
    return frame


def read_counter(luma):
    row = luma[luma.shape[0] * 7 // 8]
    number = 0
    for bit in range(COUNTER_BITS):
        number = number << 1 | int(row[(2 * bit + 1) * len(row) // (2 * COUNTER_BITS)] > 125)
    return number


class Paced(MediaStreamTrack):
    """A track whose frames leave at their times."""

    def __init__(self):
        super().__init__()
        self.count, self.start = 0, None

    async def pace(self, seconds):
        self.start = self.start or time.monotonic()
        await asyncio.sleep(max(0, self.start + seconds - time.monotonic()))


class Pattern(Paced):
    kind = "video"

    async def recv(self):
        await self.pace(self.count / FRAMES_PER_SECOND)
        frame = pattern(self.count & 0xFFFF)
        frame.pts, frame.time_base = self.count * 90000 // FRAMES_PER_SECOND, fractions.Fraction(1, 90000)
        self.count += 1
        return frame


class Tone(Paced):
    kind = "audio"

    async def recv(self):
        await self.pace(self.count / 48000)
        times = (self.count + numpy.arange(960)) / 48000
        frame = AudioFrame(format="s16", layout="mono", samples=960)
        frame.planes[0].update((numpy.sin(2 * math.pi * TONE * times) * 8000).astype(numpy.int16).tobytes())
        frame.sample_rate, frame.pts, frame.time_base = 48000, self.count, fractions.Fraction(1, 48000)
        self.count += 960
        return frame


class Call:
    """The connection with one other peer, and what was seen on it."""

    def __init__(self, signal, options):
        self.signal, self.options, self.ended = signal, options, asyncio.Event()
        self.connection, self.channel, self.tasks, self.started = RTCPeerConnection(), None, [], time.monotonic()
        self.report = {"states": [], "video_frames": 0, "audio_frames": 0, "chat": [], "counters": [], "bars": None}
        self.samples, self.last_picture = numpy.zeros(0), None
        self.connection.on("connectionstatechange", self.note_state)
        self.connection.on("track", lambda track: self.tasks.append(asyncio.ensure_future(self.consume(track))))
        self.connection.on("datachannel", self.adopt)

    def note_state(self):
        state = self.connection.connectionState
        self.report["states"].append([state, round(time.monotonic() - self.started, 3)])
        if state in ("failed", "closed"):
            self.ended.set()

    def adopt(self, channel):
        """Chat: text on the channel of that name; each message is sent back with a prefix."""
        if channel.label != self.options.chat_label:
            return
        self.channel = channel

        @channel.on("message")
        def receive(message):
            self.report["chat"].append(message if isinstance(message, str) else f"{len(message)} bytes")
            if isinstance(message, str) and not message.startswith("echo:"):
                channel.send("echo:" + message)

    async def consume(self, track):
        try:
            while True:
                frame = await track.recv()
                if track.kind == "audio":
                    self.hear(frame)
                else:
                    self.see(frame)
        except Exception as error:  # the track's end; anything else shows in the report
            self.report.setdefault("ends", []).append(f"{track.kind}: {type(error).__name__}")

    def hear(self, frame):
        self.report["audio_frames"] += 1
        self.sample_rate = frame.sample_rate
        mono = frame.to_ndarray().reshape(-1)[::len(frame.layout.channels)]
        self.samples = numpy.concatenate([self.samples, mono])[-self.sample_rate:]

    def see(self, frame):
        self.report["video_frames"] += 1
        self.last_picture = frame
        if self.report["video_frames"] % 5 == 0:
            plane = frame.planes[0]
            luma = numpy.frombuffer(plane, numpy.uint8).reshape(frame.height, plane.line_size)[:, :frame.width]
            self.report["counters"].append(read_counter(luma))

    def summary(self):
        report = dict(self.report)
        if self.last_picture is not None:
            picture = self.last_picture.to_ndarray(format="rgb24")
            height, width = picture.shape[:2]
            report["size"] = [width, height]
            report["bars"] = [[int(value) for value in picture[height * 3 // 8, (2 * index + 1) * width // 8]]
                              for index in range(4)]
            if self.options.screenshot:
                self.last_picture.to_image().save(self.options.screenshot)
        if len(self.samples):
            centred = self.samples - self.samples.mean()
            spectrum = numpy.abs(numpy.fft.rfft(centred * numpy.hanning(len(centred))))
            report["tone"] = int(spectrum.argmax() * self.sample_rate // len(centred))
        return report

    async def offer(self):
        self.connection.addTrack(Tone())
        self.connection.addTrack(Pattern())
        self.adopt(self.connection.createDataChannel(self.options.chat_label))
        await self.connection.setLocalDescription(await self.connection.createOffer())
        await self.signal(type="offer", sdp=self.told())

    def told(self):
        """Its own description, the host's name in the address's place if there is one."""
        sdp = self.connection.localDescription.sdp
        if self.options.host_name:
            sdp = sdp.replace(f" {self.options.address} ", f" {self.options.host_name} ")
        return sdp

    async def receive(self, message):
        kind = message["type"]
        if kind == "offer":
            await self.connection.setRemoteDescription(RTCSessionDescription(message["sdp"], "offer"))
            if not self.connection.getSenders() or not any(s.track for s in self.connection.getSenders()):
                self.connection.addTrack(Tone())
                self.connection.addTrack(Pattern())
            await self.connection.setLocalDescription(await self.connection.createAnswer())
            await self.signal(type="answer", sdp=self.told())
        elif kind == "answer":
            await self.connection.setRemoteDescription(RTCSessionDescription(message["sdp"], "answer"))
        elif kind == "candidate" and message["candidate"] and message["candidate"]["candidate"]:
            init = message["candidate"]
            candidate = candidate_from_sdp(init["candidate"].removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = init.get("sdpMid"), init.get("sdpMLineIndex")
            if candidate.protocol == "udp":
                await self.connection.addIceCandidate(candidate)
        elif kind == "bye":
            self.report["hung_up_by"] = "the other side"
            self.ended.set()

    async def close(self):
        await self.connection.close()
        for task in self.tasks:
            task.cancel()


async def main(options):
    server = urlsplit(options.server)
    url = f"{'wss' if server.scheme in ('https', 'wss') else 'ws'}://{server.netloc}{WEBSOCKET_PATH}"
    call = None
    async with aiohttp.ClientSession() as session, session.ws_connect(url, ssl=False) as socket:
        sequence = 0

        async def send(**message):
            await socket.send_str(json.dumps(message))

        def signal_to(peer):
            async def signal(**message):
                nonlocal sequence
                sequence += 1
                await send(**message, to=peer, seq=sequence)
            return signal

        async def listen():
            nonlocal call
            async for frame in socket:
                if frame.type != aiohttp.WSMsgType.TEXT:
                    continue
                message = json.loads(frame.data)
                kind = message["type"]
                if kind == "joined":
                    print("joined", file=sys.stderr, flush=True)
                    for peer in message["peers"]:
                        call = Call(signal_to(peer["peer"]), options)
                        await call.offer()
                elif kind == "error":
                    raise SystemExit(f"the server says: {message['message']}")
                elif kind == "ping":
                    await send(type="pong", ack=message.get("seq", 0))
                elif kind == "peer-left":
                    if call:
                        call.report.setdefault("hung_up_by", "the other side")
                        call.ended.set()
                elif kind in ("offer", "answer", "candidate", "bye"):
                    call = call or Call(signal_to(message["from"]), options)
                    await call.receive(message)

        await send(type="join", room=options.room, name="aiortc")
        listener = asyncio.ensure_future(listen())
        end = time.monotonic() + options.seconds
        chatted = False
        while time.monotonic() < end and not (call and call.ended.is_set()) and not listener.done():
            await asyncio.sleep(0.1)
            if call and call.channel and call.channel.readyState == "open" and not chatted:
                chatted = True
                call.channel.send("hello from aiortc")
        if listener.done():
            listener.result()
        report = call.summary() if call else {"error": "nobody was in the room, and nobody offered"}
        if call:
            with_bye = "hung_up_by" not in call.report
            if with_bye:
                await send(type="bye")
            await call.close()
        listener.cancel()
    print(json.dumps(report))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--server", required=True, help="http://HOST:PORT/ of the signalling server")
    parser.add_argument("--room", required=True)
    parser.add_argument("--seconds", type=float, default=8, help="how long to stay")
    parser.add_argument("--chat-label", default="chat")
    parser.add_argument("--screenshot", help="where the last picture goes, as PNG")
    parser.add_argument("--address", default="127.0.0.1", help="where its candidate is")
    parser.add_argument("--host-name", help="what candidates have in the address's place")
    arguments = parser.parse_args()
    # aioice leaves out loopback addresses, and in a network namespace of one's own there are no others.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [arguments.address]
    asyncio.run(main(arguments))
