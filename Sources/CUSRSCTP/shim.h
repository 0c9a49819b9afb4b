#ifndef CUSRSCTP_SHIM_H
#define CUSRSCTP_SHIM_H
#include <usrsctp.h>
#include <string.h>

/* Options of FreeBSD's that usrsctp has (netinet/sctp.h) and its own header leaves out. */
#define CUSRSCTP_PLUGGABLE_CC 0x00001202
#define CUSRSCTP_GET_SNDBUF_USE 0x00001101

/* What the second one gives: struct sctp_sockstat of netinet/sctp_uio.h, in bytes. */
struct cusrsctp_sndbuf_use {
    sctp_assoc_t assoc_id;
    uint32_t total_sndbuf;
    uint32_t total_recv_buf;
};

/* usrsctp_init_nothreads takes a variadic debug callback, which Swift cannot name. */
static inline void cusrsctp_usrsctp_init_nothreads(int (*output)(void *address, void *buffer, size_t length, uint8_t tos, uint8_t set_df)) {
    usrsctp_init_nothreads(0, output, NULL);
}
/* The list of stream ids is a flexible array member, which Swift does not import. */
static inline uint16_t cusrsctp_strreset_stream(const struct sctp_stream_reset_event *event, size_t index) {
    return event->strreset_stream_list[index];
}
#endif
