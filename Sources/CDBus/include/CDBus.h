/* The part of libdbus that a client of the session bus needs, loaded when it is first asked for: programs run on machines
   without it. Nothing here waits, and nothing ends the process. A connection belongs to one thread at a time. */
#ifndef CDBUS_H
#define CDBUS_H
#include <stddef.h>
#include <stdint.h>

/* Loads the library; NULL, or why it cannot be had. */
const char *cdbus_load(void);

typedef struct cdbus cdbus;
typedef struct cdbus_message cdbus_message;
/* A place in a message; larger than libdbus's own, whose size is fixed. */
typedef struct {
    uint64_t words[32];
} cdbus_iterator;

/* Connects to a bus, without its greeting; NULL with words in `reason`. */
cdbus *cdbus_open(const char *address, char *reason, size_t reason_size);
void cdbus_close(cdbus *c);
/* To be polled for input; -1 if there is none. */
int cdbus_descriptor(cdbus *c);
int cdbus_is_connected(cdbus *c);
/* Writes and reads what can be without waiting. */
void cdbus_pump(cdbus *c);
int cdbus_has_output(cdbus *c);
/* What the bus has called this connection. */
void cdbus_set_name(cdbus *c, const char *name);
/* The next message that has come; NULL if there is none. To be freed. */
cdbus_message *cdbus_next(cdbus *c);

/* NULL if names are not as D-Bus has them, or without memory. */
cdbus_message *cdbus_call(const char *destination, const char *path, const char *interface, const char *member);
/* The message's serial; 0 if it cannot be sent. */
uint32_t cdbus_send(cdbus *c, cdbus_message *message);
void cdbus_free(cdbus_message *message);

enum { CDBUS_REPLY = 2, CDBUS_ERROR = 3, CDBUS_SIGNAL = 4 };
int cdbus_kind(cdbus_message *message);
uint32_t cdbus_reply_serial(cdbus_message *message);
/* NULL if the message has none. */
const char *cdbus_path(cdbus_message *message);
const char *cdbus_interface(cdbus_message *message);
const char *cdbus_member(cdbus_message *message);
const char *cdbus_sender(cdbus_message *message);
const char *cdbus_error_name(cdbus_message *message);

int cdbus_is_path(const char *text);

/* Arguments to be written: those that have parts are opened and closed. 0 without memory. */
void cdbus_begin(cdbus_message *message, cdbus_iterator *out);
int cdbus_append_text(cdbus_iterator *to, int type, const char *text);
int cdbus_append_number(cdbus_iterator *to, int type, uint32_t number);
int cdbus_open_part(cdbus_iterator *to, int type, const char *signature, cdbus_iterator *part);
int cdbus_close_part(cdbus_iterator *to, cdbus_iterator *part);

/* Arguments to be read. The type is its letter in a signature, `r` for a structure, `e` for a dictionary's entry, 0 behind the
   last. */
void cdbus_arguments(cdbus_message *message, cdbus_iterator *out);
int cdbus_type(cdbus_iterator *at);
void cdbus_parts(cdbus_iterator *at, cdbus_iterator *out);
void cdbus_advance(cdbus_iterator *at);
const char *cdbus_text(cdbus_iterator *at);
/* Booleans and integers of any size. */
int64_t cdbus_number(cdbus_iterator *at);
double cdbus_double(cdbus_iterator *at);
/* A descriptor of the caller's own; -1 if there are none left. */
int cdbus_take_descriptor(cdbus_iterator *at);
#endif
