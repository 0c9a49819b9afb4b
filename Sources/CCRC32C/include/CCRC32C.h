#ifndef CCRC32C_H
#define CCRC32C_H
#include <stddef.h>
#include <stdint.h>

/* CRC32c (Castagnoli) of `length` bytes, continuing from `crc` (0 at first), by the processor's instruction where it
   has one: usrsctp's table takes 20 times as long. RFC 9260 appendix A */
uint32_t ccrc32c(uint32_t crc, const void *bytes, size_t length);
#endif
