#!/usr/bin/python3
"""A portal that answers as it should not: the error paths that a real desktop does not show.

    fake_portal.py HOW

HOW is `refuse` (its user says no), `fail` (no dialogue), `silent` (the user never answers), `closed` (the session ends instead
of an answer), `code`, `session`, `streams`, `descriptor`, `version` (that answer is of another form), `remote` (a connection
that nobody is behind), or `node:NAME` (PipeWire's own connection, and the node of that name).
"""
import json
import os
import socket
import subprocess
import sys

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

HOW = sys.argv[1]
BASE = "org.freedesktop.portal."
PATH = "/org/freedesktop/portal/desktop"


class Request(dbus.service.Object):
    @dbus.service.signal(BASE + "Request", signature="ua{sv}")
    def Response(self, code, results):
        pass


class OddRequest(dbus.service.Object):
    @dbus.service.signal(BASE + "Request", signature="sas")
    def Response(self, code, results):
        pass


class Session(dbus.service.Object):
    @dbus.service.signal(BASE + "Session", signature="")
    def Closed(self):
        pass

    @dbus.service.method(BASE + "Session")
    def Close(self):
        pass


class Portal(dbus.service.Object):
    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="s", out_signature="a{sv}")
    def GetAll(self, _):
        if HOW == "version":
            return {"version": "four"}
        return {"version": dbus.UInt32(4), "AvailableSourceTypes": dbus.UInt32(3), "AvailableCursorModes": dbus.UInt32(3)}

    def answer(self, sender, options, code, results, request=Request):
        path = f"{PATH}/request/{sender[1:].replace('.', '_')}/{options['handle_token']}"
        made = request(self.connection, path)

        def respond():
            made.Response(code, results)
            made.remove_from_connection()
        GLib.idle_add(respond)
        return dbus.ObjectPath(path)

    @dbus.service.method(BASE + "ScreenCast", in_signature="a{sv}", out_signature="o", sender_keyword="sender")
    def CreateSession(self, options, sender):
        self.path = f"{PATH}/session/{sender[1:].replace('.', '_')}/{options['session_handle_token']}"
        self.session = Session(self.connection, self.path)
        if HOW == "code":
            return self.answer(sender, options, "0", [], OddRequest)
        return self.answer(sender, options, dbus.UInt32(0), {"session_handle": "no path" if HOW == "session" else self.path})

    @dbus.service.method(BASE + "ScreenCast", in_signature="oa{sv}", out_signature="o", sender_keyword="sender")
    def SelectSources(self, _, options, sender):
        return self.answer(sender, options, dbus.UInt32(0), {})

    @dbus.service.method(BASE + "ScreenCast", in_signature="osa{sv}", out_signature="o", sender_keyword="sender")
    def Start(self, _, parent, options, sender):
        if HOW == "silent":
            return dbus.ObjectPath(PATH + "/request/silent")
        if HOW == "closed":
            GLib.idle_add(lambda: self.session.Closed())
            return dbus.ObjectPath(PATH + "/request/silent")
        if HOW in ("refuse", "fail"):
            return self.answer(sender, options, dbus.UInt32(1 if HOW == "refuse" else 2), {})
        if HOW == "streams":
            return self.answer(sender, options, dbus.UInt32(0), {"streams": dbus.Array([dbus.String("7")])})
        node = node_called(HOW[5:]) if HOW.startswith("node:") else 7
        stream = dbus.Struct((dbus.UInt32(node), dbus.Dictionary({"source_type": dbus.UInt32(1)}, signature="sv")))
        return self.answer(sender, options, dbus.UInt32(0), {"streams": dbus.Array([stream], signature="(ua{sv})")})

    @dbus.service.method(BASE + "ScreenCast", in_signature="oa{sv}", out_signature="v" if HOW == "descriptor" else "h")
    def OpenPipeWireRemote(self, session, options):
        if HOW == "descriptor":
            return dbus.UInt32(3)
        connection, other = socket.socketpair()
        if HOW.startswith("node:"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(os.environ["XDG_RUNTIME_DIR"] + "/pipewire-0")
        other.close()
        return dbus.types.UnixFd(connection)


def node_called(name):
    for thing in json.loads(subprocess.run(["pw-dump"], capture_output=True, check=True).stdout):
        if thing["type"].endswith(":Node") and thing["info"]["props"].get("node.name") == name:
            return thing["id"]
    return 9999


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
portal = Portal(bus, PATH)
name = dbus.service.BusName(BASE + "Desktop", bus)
GLib.MainLoop().run()
