#!/usr/bin/env python3
"""A peer that sends back every message of every data channel: channel_echo.py aiortc|libdatachannel offer|answer.

Descriptions, complete with candidates, go over standard input and output as lines `KIND<TAB>TEXT`, line ends inside as
byte 1, as peer-bench has it. It ends when the other side is done.
"""
import asyncio
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


async def aiortc(role):
    import aioice.ice
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
    # aioice leaves out loopback addresses, and in a network namespace of one's own there are no others.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.on("datachannel", lambda channel: channel.on("message", channel.send))
    if role == "offer":
        connection.createDataChannel("first")
        await connection.setLocalDescription(await connection.createOffer())
        put("offer", connection.localDescription.sdp)
    kind, text = await get()
    await connection.setRemoteDescription(RTCSessionDescription(sdp=text, type=kind))
    if role == "answer":
        await connection.setLocalDescription(await connection.createAnswer())
        put("answer", connection.localDescription.sdp)
    return connection


async def libdatachannel(role):
    import aiolibdatachannel as library
    connection, tasks = library.PeerConnection(), []

    async def echo(channel):
        async for message in channel:
            await channel.send(message)

    async def adopt():
        async for channel in connection.incoming_data_channels():
            tasks.append(asyncio.ensure_future(echo(channel)))

    async def put_description():
        await connection.set_local_description(role)
        while connection.gathering_state != library.GatheringState.COMPLETE:
            await asyncio.sleep(0.005)
        put(role, connection.local_description.sdp)

    tasks.append(asyncio.ensure_future(adopt()))
    if role == "offer":
        tasks.append(await connection.create_data_channel("first"))
        await put_description()
    kind, text = await get()
    await connection.set_remote_description(text, kind)
    if role == "answer":
        await put_description()
    return connection, tasks


async def main(stack, role):
    stacks = {"aiortc": aiortc, "libdatachannel": libdatachannel}
    kept = await stacks[stack](role)
    await get()
    put("done")
    del kept
    os._exit(0)


asyncio.run(main(*sys.argv[1:]))
