#include "CCRC32C.h"
#include <string.h>

static uint32_t by_table(uint32_t crc, const uint8_t *bytes, size_t length) {
    static uint32_t table[256];
    static int ready; /* Racing threads write the same values. */
    if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) value = value & 1 ? (value >> 1) ^ 0x82F63B78u : value >> 1;
            __atomic_store_n(&table[i], value, __ATOMIC_RELAXED);
        }
        __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
    }
    while (length--) crc = table[(crc ^ *bytes++) & 255] ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *bytes, size_t length) {
    uint64_t wide = crc;
    for (; length >= 8; length -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; length; length--) crc = __builtin_ia32_crc32qi(crc, *bytes++);
    return crc;
}
static int has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
static uint32_t by_instruction(uint32_t crc, const uint8_t *bytes, size_t length) {
    for (; length >= 8; length -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = __crc32cd(crc, word);
    }
    for (; length; length--) crc = __crc32cb(crc, *bytes++);
    return crc;
}
static int has_instruction(void) { return 1; }
#else
static uint32_t by_instruction(uint32_t crc, const uint8_t *bytes, size_t length) { return by_table(crc, bytes, length); }
static int has_instruction(void) { return 0; }
#endif

uint32_t ccrc32c(uint32_t crc, const void *bytes, size_t length) {
    crc = ~crc;
    return ~(has_instruction() ? by_instruction(crc, bytes, length) : by_table(crc, bytes, length));
}
