#include "CDBus.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libdbus-1.so.3's interface has been the same since 1.0 of 2006, descriptors since 1.4. It is declared here, so that neither
   building nor running needs the package; Interop/wayland/abi.c holds these against the headers. */
typedef struct DBusConnection DBusConnection;
typedef struct DBusMessage DBusMessage;
typedef cdbus_iterator DBusMessageIter;
typedef uint32_t dbus_bool_t;
typedef struct {
    const char *name;
    const char *message;
    unsigned flags;
    void *padding;
} DBusError;

#define FUNCTIONS(X) \
    X(void, dbus_error_init, (DBusError *)) \
    X(void, dbus_error_free, (DBusError *)) \
    X(DBusConnection *, dbus_connection_open_private, (const char *, DBusError *)) \
    X(void, dbus_connection_close, (DBusConnection *)) \
    X(void, dbus_connection_unref, (DBusConnection *)) \
    X(void, dbus_connection_set_exit_on_disconnect, (DBusConnection *, dbus_bool_t)) \
    X(void, dbus_connection_set_change_sigpipe, (dbus_bool_t)) \
    X(dbus_bool_t, dbus_connection_get_is_connected, (DBusConnection *)) \
    X(dbus_bool_t, dbus_connection_get_unix_fd, (DBusConnection *, int *)) \
    X(dbus_bool_t, dbus_connection_read_write, (DBusConnection *, int)) \
    X(DBusMessage *, dbus_connection_pop_message, (DBusConnection *)) \
    X(dbus_bool_t, dbus_connection_send, (DBusConnection *, DBusMessage *, uint32_t *)) \
    X(dbus_bool_t, dbus_connection_has_messages_to_send, (DBusConnection *)) \
    X(void, dbus_connection_set_max_message_size, (DBusConnection *, long)) \
    X(void, dbus_connection_set_max_received_size, (DBusConnection *, long)) \
    X(void, dbus_connection_set_max_message_unix_fds, (DBusConnection *, long)) \
    X(void, dbus_connection_set_max_received_unix_fds, (DBusConnection *, long)) \
    X(dbus_bool_t, dbus_bus_set_unique_name, (DBusConnection *, const char *)) \
    X(DBusMessage *, dbus_message_new_method_call, (const char *, const char *, const char *, const char *)) \
    X(void, dbus_message_unref, (DBusMessage *)) \
    X(int, dbus_message_get_type, (DBusMessage *)) \
    X(uint32_t, dbus_message_get_reply_serial, (DBusMessage *)) \
    X(const char *, dbus_message_get_path, (DBusMessage *)) \
    X(const char *, dbus_message_get_interface, (DBusMessage *)) \
    X(const char *, dbus_message_get_member, (DBusMessage *)) \
    X(const char *, dbus_message_get_sender, (DBusMessage *)) \
    X(const char *, dbus_message_get_error_name, (DBusMessage *)) \
    X(dbus_bool_t, dbus_message_iter_init, (DBusMessage *, DBusMessageIter *)) \
    X(void, dbus_message_iter_init_append, (DBusMessage *, DBusMessageIter *)) \
    X(dbus_bool_t, dbus_message_iter_append_basic, (DBusMessageIter *, int, const void *)) \
    X(dbus_bool_t, dbus_message_iter_open_container, (DBusMessageIter *, int, const char *, DBusMessageIter *)) \
    X(dbus_bool_t, dbus_message_iter_close_container, (DBusMessageIter *, DBusMessageIter *)) \
    X(int, dbus_message_iter_get_arg_type, (DBusMessageIter *)) \
    X(void, dbus_message_iter_recurse, (DBusMessageIter *, DBusMessageIter *)) \
    X(dbus_bool_t, dbus_message_iter_next, (DBusMessageIter *)) \
    X(void, dbus_message_iter_get_basic, (DBusMessageIter *, void *)) \
    X(dbus_bool_t, dbus_validate_path, (const char *, DBusError *)) \
    X(dbus_bool_t, dbus_validate_utf8, (const char *, DBusError *))

#define DECLARE(result, name, parameters) static result(*p_##name) parameters;
FUNCTIONS(DECLARE)
#undef DECLARE

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char refusal[512] = "";

static void load(void) {
    void *handle = dlopen("libdbus-1.so.3", RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *words = dlerror();
        strncpy(refusal, words ? words : "libdbus-1.so.3 cannot be loaded", sizeof refusal - 1);
        return;
    }
    int is_whole = 1;
#define LOAD(result, name, parameters) is_whole &= (p_##name = (__typeof__(p_##name))dlsym(handle, #name)) != NULL;
    FUNCTIONS(LOAD)
    if (is_whole) return;
    strncpy(refusal, "libdbus-1.so.3 is too old", sizeof refusal - 1);
    dlclose(handle);
}

const char *cdbus_load(void) {
    pthread_once(&once, load);
    return refusal[0] ? refusal : NULL;
}

struct cdbus {
    DBusConnection *connection;
};

/* What a bus or service may make us hold. */
static const long message_limit = 1 << 20;

cdbus *cdbus_open(const char *address, char *reason, size_t reason_size) {
    DBusError error;
    p_dbus_error_init(&error);
    /* The process's signals are its own; libdbus writes without them. */
    p_dbus_connection_set_change_sigpipe(0);
    cdbus *c = calloc(1, sizeof *c);
    /* Of our own: the shared one may be closed by others. */
    DBusConnection *connection = c ? p_dbus_connection_open_private(address, &error) : NULL;
    if (!connection) {
        snprintf(reason, reason_size, "%s", error.message ? error.message : "no memory");
        p_dbus_error_free(&error);
        free(c);
        return NULL;
    }
    p_dbus_connection_set_exit_on_disconnect(connection, 0);
    p_dbus_connection_set_max_message_size(connection, message_limit);
    p_dbus_connection_set_max_received_size(connection, 4 * message_limit);
    p_dbus_connection_set_max_message_unix_fds(connection, 4);
    p_dbus_connection_set_max_received_unix_fds(connection, 16);
    c->connection = connection;
    return c;
}

void cdbus_close(cdbus *c) {
    p_dbus_connection_close(c->connection);
    /* What has come is freed by popping it. */
    DBusMessage *message;
    while ((message = p_dbus_connection_pop_message(c->connection))) p_dbus_message_unref(message);
    p_dbus_connection_unref(c->connection);
    free(c);
}

int cdbus_descriptor(cdbus *c) {
    int descriptor = -1;
    return p_dbus_connection_get_unix_fd(c->connection, &descriptor) ? descriptor : -1;
}

int cdbus_is_connected(cdbus *c) { return p_dbus_connection_get_is_connected(c->connection) != 0; }
void cdbus_pump(cdbus *c) { p_dbus_connection_read_write(c->connection, 0); }
int cdbus_has_output(cdbus *c) { return p_dbus_connection_has_messages_to_send(c->connection) != 0; }
void cdbus_set_name(cdbus *c, const char *name) { p_dbus_bus_set_unique_name(c->connection, name); }
cdbus_message *cdbus_next(cdbus *c) { return (cdbus_message *)p_dbus_connection_pop_message(c->connection); }

cdbus_message *cdbus_call(const char *destination, const char *path, const char *interface, const char *member) {
    return (cdbus_message *)p_dbus_message_new_method_call(destination, path, interface, member);
}

uint32_t cdbus_send(cdbus *c, cdbus_message *message) {
    uint32_t serial = 0;
    return p_dbus_connection_send(c->connection, (DBusMessage *)message, &serial) ? serial : 0;
}

void cdbus_free(cdbus_message *message) { p_dbus_message_unref((DBusMessage *)message); }
int cdbus_kind(cdbus_message *message) { return p_dbus_message_get_type((DBusMessage *)message); }
uint32_t cdbus_reply_serial(cdbus_message *message) {
    return p_dbus_message_get_reply_serial((DBusMessage *)message);
}
const char *cdbus_path(cdbus_message *message) { return p_dbus_message_get_path((DBusMessage *)message); }
const char *cdbus_interface(cdbus_message *message) { return p_dbus_message_get_interface((DBusMessage *)message); }
const char *cdbus_member(cdbus_message *message) { return p_dbus_message_get_member((DBusMessage *)message); }
const char *cdbus_sender(cdbus_message *message) { return p_dbus_message_get_sender((DBusMessage *)message); }
const char *cdbus_error_name(cdbus_message *message) { return p_dbus_message_get_error_name((DBusMessage *)message); }
int cdbus_is_path(const char *text) { return p_dbus_validate_path(text, NULL) != 0; }

void cdbus_begin(cdbus_message *message, cdbus_iterator *out) {
    p_dbus_message_iter_init_append((DBusMessage *)message, out);
}

int cdbus_append_text(cdbus_iterator *to, int type, const char *text) {
    /* libdbus ends the process for others. */
    if (type == 'o' ? !p_dbus_validate_path(text, NULL) : !p_dbus_validate_utf8(text, NULL)) return 0;
    return p_dbus_message_iter_append_basic(to, type, &text) != 0;
}

int cdbus_append_number(cdbus_iterator *to, int type, uint32_t number) {
    if (type == 'b') number = number != 0;
    return p_dbus_message_iter_append_basic(to, type, &number) != 0;
}

int cdbus_open_part(cdbus_iterator *to, int type, const char *signature, cdbus_iterator *part) {
    return p_dbus_message_iter_open_container(to, type, signature, part) != 0;
}

int cdbus_close_part(cdbus_iterator *to, cdbus_iterator *part) {
    return p_dbus_message_iter_close_container(to, part) != 0;
}

void cdbus_arguments(cdbus_message *message, cdbus_iterator *out) {
    memset(out, 0, sizeof *out);
    p_dbus_message_iter_init((DBusMessage *)message, out);
}

int cdbus_type(cdbus_iterator *at) { return p_dbus_message_iter_get_arg_type(at); }
void cdbus_parts(cdbus_iterator *at, cdbus_iterator *out) { p_dbus_message_iter_recurse(at, out); }
void cdbus_advance(cdbus_iterator *at) { p_dbus_message_iter_next(at); }

const char *cdbus_text(cdbus_iterator *at) {
    const char *text = NULL;
    p_dbus_message_iter_get_basic(at, &text);
    return text ? text : "";
}

int64_t cdbus_number(cdbus_iterator *at) {
    /* DBusBasicValue, of which the type says which member it is. */
    union {
        uint8_t bytes[16];
        uint8_t byt;
        int16_t i16;
        uint16_t u16;
        int32_t i32;
        uint32_t u32;
        int64_t i64;
    } value;
    memset(&value, 0, sizeof value);
    int type = cdbus_type(at);
    p_dbus_message_iter_get_basic(at, &value);
    switch (type) {
    case 'y': return value.byt;
    case 'n': return value.i16;
    case 'q': return value.u16;
    case 'i': return value.i32;
    case 'b':
    case 'u': return value.u32;
    default: return value.i64;
    }
}

double cdbus_double(cdbus_iterator *at) {
    double value = 0;
    p_dbus_message_iter_get_basic(at, &value);
    return value;
}

int cdbus_take_descriptor(cdbus_iterator *at) {
    int descriptor = -1;
    p_dbus_message_iter_get_basic(at, &descriptor);
    return descriptor;
}
