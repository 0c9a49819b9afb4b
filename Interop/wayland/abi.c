/* Holds what Sources/CPipeWire and Sources/CDBus declare themselves against the installed headers: compiles, or does not.

     cc -fsyntax-only -ISources/CPipeWire -ISources/CDBus/include $(pkg-config --cflags libpipewire-0.3 dbus-1) \
        Interop/wayland/abi.c */
#include <dbus/dbus.h>
#include <pipewire/pipewire.h>
#include <spa/buffer/meta.h>
#include <spa/param/video/format-utils.h>
#include <stddef.h>
/* pw_loop is pipewire's here. */
#define pw_loop abi_loop
#include "abi.h"
#undef pw_loop
#include "CDBus.h"

#define SAME(what, ours, theirs) _Static_assert((ours) == (theirs), what)
#define PLACE(our, their, our_member, their_member) \
    SAME(#their "." #their_member, offsetof(struct our, our_member), offsetof(struct their, their_member)); \
    SAME("size of " #their "." #their_member, sizeof(((struct our *)0)->our_member), \
         sizeof(((struct their *)0)->their_member))
#define WHOLE(our, their) SAME("size of " #their, sizeof(struct our), sizeof(struct their))
/* Others may have grown at their ends. */
#define PART(our, their) _Static_assert(sizeof(struct our) <= sizeof(struct their), "size of " #their)

WHOLE(abi_hook, spa_hook);
WHOLE(abi_interface, spa_interface);
PLACE(abi_interface, spa_interface, version, version);
PLACE(abi_interface, spa_interface, functions, cb.funcs);
PLACE(abi_interface, spa_interface, data, cb.data);
PLACE(abi_loop_control, spa_loop_control, interface, iface);
PLACE(abi_loop, pw_loop, control, control);
PART(abi_loop_methods, spa_loop_control_methods);
PLACE(abi_loop_methods, spa_loop_control_methods, get_fd, get_fd);
PLACE(abi_loop_methods, spa_loop_control_methods, enter, enter);
PLACE(abi_loop_methods, spa_loop_control_methods, leave, leave);
PLACE(abi_loop_methods, spa_loop_control_methods, iterate, iterate);
WHOLE(abi_chunk, spa_chunk);
PLACE(abi_chunk, spa_chunk, offset, offset);
PLACE(abi_chunk, spa_chunk, size, size);
PLACE(abi_chunk, spa_chunk, stride, stride);
PLACE(abi_chunk, spa_chunk, flags, flags);
WHOLE(abi_data, spa_data);
PLACE(abi_data, spa_data, type, type);
PLACE(abi_data, spa_data, fd, fd);
PLACE(abi_data, spa_data, mapoffset, mapoffset);
PLACE(abi_data, spa_data, maxsize, maxsize);
PLACE(abi_data, spa_data, data, data);
PLACE(abi_data, spa_data, chunk, chunk);
WHOLE(abi_meta, spa_meta);
PLACE(abi_meta, spa_meta, type, type);
PLACE(abi_meta, spa_meta, size, size);
PLACE(abi_meta, spa_meta, data, data);
WHOLE(abi_meta_header, spa_meta_header);
PLACE(abi_meta_header, spa_meta_header, flags, flags);
PLACE(abi_meta_header, spa_meta_header, pts, pts);
WHOLE(abi_meta_region, spa_meta_region);
PLACE(abi_meta_region, spa_meta_region, x, region.position.x);
PLACE(abi_meta_region, spa_meta_region, height, region.size.height);
WHOLE(abi_buffer, spa_buffer);
PLACE(abi_buffer, spa_buffer, n_metas, n_metas);
PLACE(abi_buffer, spa_buffer, n_datas, n_datas);
PLACE(abi_buffer, spa_buffer, metas, metas);
PLACE(abi_buffer, spa_buffer, datas, datas);
PART(abi_pw_buffer, pw_buffer);
PLACE(abi_pw_buffer, pw_buffer, buffer, buffer);
PART(abi_stream_events, pw_stream_events);
PLACE(abi_stream_events, pw_stream_events, state_changed, state_changed);
PLACE(abi_stream_events, pw_stream_events, param_changed, param_changed);
PLACE(abi_stream_events, pw_stream_events, add_buffer, add_buffer);
PLACE(abi_stream_events, pw_stream_events, remove_buffer, remove_buffer);
PLACE(abi_stream_events, pw_stream_events, process, process);
PLACE(abi_stream_events, pw_stream_events, drained, drained);

SAME("Format", ABI_PARAM_FORMAT, SPA_PARAM_Format);
SAME("input", ABI_DIRECTION_INPUT, PW_DIRECTION_INPUT);
SAME("AUTOCONNECT", ABI_STREAM_AUTOCONNECT, PW_STREAM_FLAG_AUTOCONNECT);
SAME("DONT_RECONNECT", ABI_STREAM_DONT_RECONNECT, PW_STREAM_FLAG_DONT_RECONNECT);
SAME("MemPtr", ABI_DATA_MEMPTR, SPA_DATA_MemPtr);
SAME("MemFd", ABI_DATA_MEMFD, SPA_DATA_MemFd);
SAME("Header", ABI_META_HEADER, SPA_META_Header);
SAME("VideoCrop", ABI_META_CROP, SPA_META_VideoCrop);
SAME("chunk corrupted", ABI_CHUNK_CORRUPTED, SPA_CHUNK_FLAG_CORRUPTED);
SAME("header corrupted", ABI_HEADER_CORRUPTED, SPA_META_HEADER_FLAG_CORRUPTED);

_Static_assert(sizeof(cdbus_iterator) >= sizeof(DBusMessageIter), "DBusMessageIter");
_Static_assert(_Alignof(cdbus_iterator) >= _Alignof(DBusMessageIter), "alignment of DBusMessageIter");
SAME("size of DBusError", sizeof(DBusError), 32);
SAME("DBusError.message", offsetof(DBusError, message), 8);
SAME("dbus_bool_t", sizeof(dbus_bool_t), 4);
SAME("return", CDBUS_REPLY, DBUS_MESSAGE_TYPE_METHOD_RETURN);
SAME("error", CDBUS_ERROR, DBUS_MESSAGE_TYPE_ERROR);
SAME("signal", CDBUS_SIGNAL, DBUS_MESSAGE_TYPE_SIGNAL);
