"""Lets xdg-desktop-portal-wlr capture a compositor that draws without a graphics card.

xdg-desktop-portal-wlr 0.7 gives up unless the compositor says how it would copy into a graphics card's buffer
(`linux_dmabuf`), which one without a card does not, although it then copies into shared memory all the same (0.8 no longer
asks). This stands between the two and says it; everything else passes as it is.

    waylandproxy.py SOCKET COMPOSITOR'S-SOCKET
"""
import array
import os
import select
import socket
import struct
import sys

FOURCC = {0: 0x34325241, 1: 0x34325258}  # wl_shm's numbers for ARGB8888 and XRGB8888


class Connection:
    """One client."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.pending = {client: b"", server: b""}
        self.descriptors = {client: array.array("i"), server: array.array("i")}
        self.registries, self.managers, self.frames = set(), set(), set()

    def forward(self, source):
        """Passes on what has come; False at the end."""
        target = self.server if source is self.client else self.client
        space = socket.CMSG_SPACE(28 * 4)
        data, extra, _, _ = source.recvmsg(65536, space)
        if not data:
            return False
        descriptors = self.descriptors[source]
        for level, kind, body in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(body[:len(body) - len(body) % 4])
        buffer = self.pending[source] + data
        out = b""
        while len(buffer) >= 8:
            target_object, word = struct.unpack_from("=II", buffer)
            size = word >> 16
            if size < 8 or len(buffer) < size:
                break
            message, buffer = buffer[:size], buffer[size:]
            out += message
            if source is self.client:
                self.note(target_object, word & 0xffff, message[8:])
            elif target_object in self.frames and word & 0xffff == 0:
                shm_format, width, height, _ = struct.unpack_from("=IIII", message, 8)
                # zwlr_screencopy_frame_v1.linux_dmabuf
                out += struct.pack("=IIIII", target_object, 20 << 16 | 5, FOURCC.get(shm_format, shm_format), width, height)
        self.pending[source] = buffer
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)] if descriptors else []
        while out:
            try:
                out = out[target.sendmsg([out], ancillary):]
                ancillary = []
            except BlockingIOError:
                select.select([], [target], [])
            for descriptor in descriptors:
                os.close(descriptor)
            del descriptors[:]
        return True

    def note(self, target, opcode, body):
        """Remembers which objects a client makes that matter."""
        if target == 1 and opcode == 1:
            self.registries.add(struct.unpack_from("=I", body)[0])
        elif target in self.registries and opcode == 0:
            length = struct.unpack_from("=I", body, 4)[0]
            name = body[8:8 + length - 1]
            if name == b"zwlr_screencopy_manager_v1":
                self.managers.add(struct.unpack_from("=I", body, 8 + (length + 3) // 4 * 4 + 4)[0])
        elif target in self.managers and opcode in (0, 1):
            self.frames.add(struct.unpack_from("=I", body)[0])
        elif target in self.frames and opcode == 1:
            self.frames.discard(target)


def main():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    ends = {}
    while True:
        for ready in select.select([listener, *ends], [], [])[0]:
            if ready is listener:
                client = listener.accept()[0]
                server = socket.socket(socket.AF_UNIX)
                server.connect(sys.argv[2])
                connection = Connection(client, server)
                ends[client] = ends[server] = connection
                continue
            connection = ends.get(ready)
            if not connection:
                continue
            try:
                is_open = connection.forward(ready)
            except OSError:
                is_open = False
            if not is_open:
                for end in (connection.client, connection.server):
                    ends.pop(end, None)
                    end.close()


if __name__ == "__main__":
    main()
