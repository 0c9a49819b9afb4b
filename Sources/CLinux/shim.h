#ifndef CLINUX_SHIM_H
#define CLINUX_SHIM_H
#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* eventfd's header and prctl, which is variadic, are not in the Glibc module. */
static inline int clinux_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
static inline int clinux_blocking_eventfd(void) { return eventfd(0, EFD_CLOEXEC); }
static inline void clinux_set_thread_name(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

/* The status flags are macros: whether something (NTP, PTP, the hypervisor) keeps the clock right; -1 if nobody knows. */
static inline int clinux_clock_is_kept(void) {
    struct timex state;
    memset(&state, 0, sizeof state);
    if (adjtimex(&state) < 0) return -1;
    return !(state.status & STA_UNSYNC);
}

/* GNU extensions, which the importer's headers leave out. */
static inline int clinux_rename_noreplace(int directory, const char *name, int new_directory, const char *new_name) {
    return (int)syscall(SYS_renameat2, directory, name, new_directory, new_name, 1U /* RENAME_NOREPLACE */);
}
static inline int clinux_syncfs(int descriptor) { return (int)syscall(SYS_syncfs, descriptor); }

/* Of processors that this thread may run on: the call gives the bytes of the mask that it wrote. 0 if nobody knows. */
static inline int clinux_processor_count(void) {
    unsigned long mask[128];
    int count = 0;
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    for (long word = 0; word < bytes / (long)sizeof mask[0]; word++) count += __builtin_popcountl(mask[word]);
    return count;
}

/* The multicast groups' flags are macros: a socket that hears of links, addresses and routes. Or -errno. */
static inline int clinux_open_netlink(void) {
    struct sockaddr_nl address;
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0) return -errno;
    memset(&address, 0, sizeof address);
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) {
        int number = errno;
        close(descriptor);
        return -number;
    }
    return descriptor;
}

/* A socket that hears of devices: the kernel's own messages, which need neither udev nor a privilege. Or -errno. */
static inline int clinux_open_uevents(void) {
    struct sockaddr_nl address;
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    if (descriptor < 0) return -errno;
    memset(&address, 0, sizeof address);
    address.nl_family = AF_NETLINK;
    address.nl_groups = 1;
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) {
        int number = errno;
        close(descriptor);
        return -number;
    }
    return descriptor;
}

/* inotify's header is not in the Glibc module: tells of files of a folder that come, go or change their permissions. */
static inline int clinux_inotify(void) { return inotify_init1(IN_NONBLOCK | IN_CLOEXEC); }
static inline int clinux_watch_folder(int descriptor, const char *folder) {
    return inotify_add_watch(descriptor, folder, IN_CREATE | IN_DELETE | IN_ATTRIB | IN_MOVED_TO | IN_MOVED_FROM | IN_ONLYDIR);
}

/* CMSG_* are macros: sends `length` bytes as datagrams of `segment` bytes (UDP GSO; 0: one datagram).
   Returns the bytes sent, or -errno. */
static inline ssize_t clinux_sendmsg(int descriptor, const void *bytes, size_t length, const struct sockaddr *address,
                                   socklen_t address_length, uint16_t segment) {
    struct iovec vector = {(void *)bytes, length};
    union {
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr align;
    } control;
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_name = (void *)address;
    message.msg_namelen = address_length;
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    if (segment) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = IPPROTO_UDP;
        header->cmsg_type = UDP_SEGMENT;
        header->cmsg_len = CMSG_LEN(sizeof segment);
        memcpy(CMSG_DATA(header), &segment, sizeof segment);
    }
    ssize_t sent;
    do {
        sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}
#endif
